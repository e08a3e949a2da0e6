// Package legacytest has packets of the C MLVPN, as two of its daemons (version
// 2.3.5-14) have exchanged them between two network namespaces, for tests of what speaks
// its protocol.
//
// Each session goes over two links, numbered 1 and 2, and begins with a handshake on
// both. Then there are three seconds of keepalives, pings both ways, two UDP packets, two
// TCP connections that carry 20,000 bytes each, and 2.5 s of silence, before one end
// quits, and the other 1.5 s later.
package legacytest

import (
	"embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

//go:embed testdata
var files embed.FS

// A Packet is one that was captured, taken apart.
type Packet struct {
	Capture        string
	Password       string
	Key            string `json:"key_hex"`
	Tuntap         string
	ClearData      int `json:"cleartext_data"`
	Version        uint8
	Type           uint8
	TypeName       string `json:"type_name"`
	Reorder        int
	Timestamp      uint16
	TimestampReply uint16 `json:"timestamp_reply"`
	FlowID         uint32 `json:"flow_id"`
	Seq            uint64
	DataSeq        uint64 `json:"data_seq"`
	Plaintext      string `json:"plaintext_hex"`
	Datagram       string `json:"datagram_hex"`
}

// Packets returns 117 packets of all sessions.
func Packets() (packets []Packet, err error) {
	b, err := files.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(b, &packets)
	}
	return packets, err
}

// A Session is one between two daemons.
type Session struct {
	Name      string
	Password  string // of the server
	Ethernet  bool
	ClearData bool
	Timeout   time.Duration
	Quits     string // who is the first to: client or server
}

// Sessions returns all. In tun-crypt-blackhole, link 2 is cut without a sign from the 6th
// to the 14th second; as the captures were made at the client, they have what it sent
// meanwhile. In tun-crypt-badpw the client has another password, and is not answered.
func Sessions() []Session {
	return []Session{
		{"tun-crypt", "mlvpn-golden-1", false, false, 30 * time.Second, "client"},
		{"tun-clear", "mlvpn-golden-2", false, true, 30 * time.Second, "server"},
		{"tap-crypt", "mlvpn-golden-3", true, false, 30 * time.Second, "server"},
		{"tap-clear", "mlvpn-golden-4", true, true, 30 * time.Second, "client"},
		{"tun-crypt-defmtu", "pleasechangeme!", false, false, 30 * time.Second, "server"},
		{"tun-crypt-blackhole", "mlvpn-golden-6", false, false, 3 * time.Second, "client"},
		{"tun-crypt-badpw", "mlvpn-golden-7", false, false, 30 * time.Second, "client"},
	}
}

// A Datagram is one that was captured.
type Datagram struct {
	At         time.Time
	Link       int // 1 or 2
	FromClient bool
	Payload    []byte // of UDP
}

// Frames returns the Ethernet frames that were captured on a link of the session called
// name, and when.
func Frames(name string, link int) (frames [][]byte, at []time.Time, err error) {
	b, err := files.ReadFile(fmt.Sprintf("testdata/%s-link%d.pcap", name, link))
	if err != nil {
		return nil, nil, err
	}
	const fileHeader, header = 24, 16
	for b = b[fileHeader:]; len(b) >= header; {
		size := header + binary.LittleEndian.Uint32(b[8:])
		at = append(at, time.Unix(int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))*1000))
		frames = append(frames, b[header:size])
		b = b[size:]
	}
	return frames, at, nil
}

// Capture returns the session's datagrams in the order of their times.
func (s *Session) Capture() (all []Datagram, err error) {
	for link := 1; link <= 2; link++ {
		frames, at, err := Frames(s.Name, link)
		if err != nil {
			return nil, err
		}
		fragments := make(map[uint16][]byte) // by the packet's identification
		for i, frame := range frames {
			ip := frame[14:]
			ip = ip[:binary.BigEndian.Uint16(ip[2:])]
			id, moreFragments := binary.BigEndian.Uint16(ip[4:]), ip[6]&0x20 != 0
			udp := append(slices.Clone(fragments[id]), ip[20:]...)
			if moreFragments {
				fragments[id] = udp
				continue
			}
			all = append(all, Datagram{at[i], link, ip[15] == 1, udp[8:]})
		}
	}
	slices.SortStableFunc(all, func(a, b Datagram) int { return a.At.Compare(b.At) })
	return all, nil
}
