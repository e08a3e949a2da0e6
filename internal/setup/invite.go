// Package setup makes the configuration files of a server and its clients: what the
// commands init-server, add-client, remove-client, list-clients and join do.
//
// A file that it writes is new and of mode 0600. None is overwritten.
package setup

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/multilink-vpn/multilink/crypto"
)

// An Invite is all that a client needs to know of a server, and of itself. Its text form
// is one line without blanks, which a server prints and a client's owner pastes.
type Invite struct {
	Server    crypto.PublicKey
	Client    crypto.PrivateKey   // zero: the client has made its own
	Preshared crypto.PresharedKey // zero: none
	Name      string              // of the client, at the server
	Network   string              // as in the server's configuration
	Host      string              // address or name of the server
	Ports     []uint16            // of UDP, at least one
}

// invitePrefix begins the text form. The rest is base64 (RFC 4648, section 5, without
// padding) of
//
//	version u8 = 1 | server (32) | client (32) | preshared (32) |
//	length u8, name | length u8, network | length u8, host | count u8, ports u16... |
//	the first 4 bytes of SHA-256 of all before
//
// The checksum is there to tell a line that was damaged on its way from one that is not
// for this server.
const (
	invitePrefix  = "ml1:"
	inviteVersion = 1
	checksumSize  = 4
	maxText       = 255 // bytes of a name, a network and a host
)

// EncodeText returns the secret text form.
func (v *Invite) EncodeText() string {
	b := []byte{inviteVersion}
	b = append(b, v.Server[:]...)
	b = append(b, v.Client[:]...)
	b = append(b, v.Preshared[:]...)
	for _, s := range []string{v.Name, v.Network, v.Host} {
		b = append(append(b, uint8(len(s))), s...)
	}
	b = append(b, uint8(len(v.Ports)))
	for _, p := range v.Ports {
		b = binary.BigEndian.AppendUint16(b, p)
	}
	return invitePrefix + base64.RawURLEncoding.EncodeToString(append(b, checksum(b)...))
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:checksumSize]
}

// String says whose it is, without secrets.
func (v Invite) String() string { return fmt.Sprintf("invitation of %s to %s", v.Name, v.Host) }

// GoString is String.
func (v Invite) GoString() string { return v.String() }

// LogValue is String for package slog.
func (v Invite) LogValue() slog.Value { return slog.StringValue(v.String()) }

// ParseInvite reads the text form. Blanks and line breaks in it, which mail programs
// add, do not count. Errors do not quote it.
func ParseInvite(text string) (*Invite, error) {
	text = strings.Join(strings.Fields(text), "")
	body, found := strings.CutPrefix(text, invitePrefix)
	if !found {
		return nil, fmt.Errorf("this is not the line that mlvpn add-client prints, which begins with %s", invitePrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(b) < checksumSize {
		return nil, errDamaged
	}
	b, sum := b[:len(b)-checksumSize], b[len(b)-checksumSize:]
	if !bytes.Equal(sum, checksum(b)) {
		return nil, errDamaged
	}
	if len(b) == 0 || b[0] != inviteVersion {
		return nil, errors.New("the line is of another version of mlvpn: use the same at both ends")
	}
	r := reader{rest: b[1:]}
	v := &Invite{}
	copy(v.Server[:], r.take(crypto.KeySize))
	copy(v.Client[:], r.take(crypto.KeySize))
	copy(v.Preshared[:], r.take(crypto.KeySize))
	v.Name, v.Network, v.Host = r.text(), r.text(), r.text()
	for range r.number() {
		v.Ports = append(v.Ports, binary.BigEndian.Uint16(append(slices.Clone(r.take(2)), 0, 0)))
	}
	if r.short || len(r.rest) > 0 || len(v.Ports) == 0 || slices.Contains(v.Ports, 0) || v.Host == "" || v.Server.IsZero() {
		return nil, errDamaged
	}
	return v, nil
}

var errDamaged = errors.New("the line is damaged: copy all of it, from " + invitePrefix + " to its end")

// A reader takes fields from the front of bytes, until they do not suffice.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) number() int {
	b := r.take(1)
	if b == nil {
		return 0
	}
	return int(b[0])
}

func (r *reader) text() string { return string(r.take(r.number())) }
