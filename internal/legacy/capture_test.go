package legacy

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"
)

// A goldenPacket is a packet of the C daemon, taken apart.
type goldenPacket struct {
	Capture        string
	Password       string
	Key            string `json:"key_hex"`
	ClearData      int    `json:"cleartext_data"`
	Version        uint8
	Type           Type
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

func golden(t testing.TB) (packets []goldenPacket) {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &packets); err != nil {
		t.Fatal(err)
	}
	return packets
}

// A session is what two C daemons have said to each other over two links.
type session struct {
	name      string
	password  string // of the server
	clearData bool
	timeout   time.Duration
}

var sessions = []session{
	{"tun-crypt", "mlvpn-golden-1", false, 30 * time.Second},
	{"tun-clear", "mlvpn-golden-2", true, 30 * time.Second},
	{"tap-crypt", "mlvpn-golden-3", false, 30 * time.Second},
	{"tap-clear", "mlvpn-golden-4", true, 30 * time.Second},
	{"tun-crypt-defmtu", "pleasechangeme!", false, 30 * time.Second},
	{"tun-crypt-blackhole", "mlvpn-golden-6", false, 3 * time.Second},
	{"tun-crypt-badpw", "mlvpn-golden-7", false, 30 * time.Second},
}

// A captured is one datagram.
type captured struct {
	at         time.Time
	link       int
	fromClient bool
	datagram   []byte
}

// capture returns the datagrams of a session in the order of their times.
func (s *session) capture(t testing.TB) (all []captured) {
	t.Helper()
	for link := 1; link <= 2; link++ {
		b, err := os.ReadFile("testdata/" + s.name + "-link" + string(rune('0'+link)) + ".pcap")
		if err != nil {
			t.Fatal(err)
		}
		fragments := make(map[uint16][]byte)
		for b = b[24:]; len(b) >= 16; {
			size := binary.LittleEndian.Uint32(b[8:])
			at := time.Unix(int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))*1000)
			ip := b[16+14 : 16+size]
			b = b[16+size:]
			ip = ip[:binary.BigEndian.Uint16(ip[2:])]
			id, offset := binary.BigEndian.Uint16(ip[4:]), binary.BigEndian.Uint16(ip[6:])
			if offset&0x2000 != 0 {
				fragments[id] = ip[20:]
				continue
			}
			udp := append(slices.Clone(fragments[id]), ip[20:]...)
			all = append(all, captured{at, link, ip[15] == 1, udp[8:]})
		}
	}
	slices.SortStableFunc(all, func(a, b captured) int { return a.at.Compare(b.at) })
	return all
}
