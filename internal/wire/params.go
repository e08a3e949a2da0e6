package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Limits of Params.
const (
	// MaxLinks is the largest number of indices.
	MaxLinks = 64
	// MaxName is the longest name, in bytes.
	MaxName = 64
	// MaxPrefixes is the largest number of prefixes.
	MaxPrefixes = 32
	// MaxAddresses is the largest number of addresses.
	MaxAddresses = 4
)

// ErrDuplicate says that a field that may appear once is repeated.
var ErrDuplicate = errors.New("wire: duplicate field")

const (
	paramAEADs   = 1
	paramIndices = 2
	paramName    = 3
	paramPrefix  = 4
	paramMedium  = 5
	paramClient  = 7
	paramAddress = 8
)

// Params is the payload of both Noise messages of the handshake.
type Params struct {
	// AEADs is a mask of the AEADs that the initiator can use, or the one that the
	// responder chose; 0 is none.
	AEADs uint8
	// Indices are the receiver indices that the sender of the message wants to see in
	// the headers of the datagrams that it receives; the position is the number of the
	// link. They are distinct and not 0. At most MaxLinks.
	Indices []uint32
	// Name is for people: UTF-8 without control characters, at most MaxName bytes.
	Name string
	// Prefixes are the inner addresses that the sender of the message answers for, at
	// most MaxPrefixes. They are masked, and none is of IPv4-mapped IPv6 addresses.
	Prefixes []netip.Prefix
	// Addresses are those that the responder gives to the initiator, each with the length
	// of the tunnel's network, at most MaxAddresses. They have host bits.
	Addresses []netip.Prefix
	// Client tells clients apart that share a password: a random number that a client
	// keeps for as long as it runs. 0 is none.
	Client uint64
	// Ethernet says that the inner packets are Ethernet frames, not IP packets.
	Ethernet bool
}

// Validate returns why p cannot be sent, or nil. ParseParams accepts exactly what
// Validate does.
func (p *Params) Validate() error {
	if len(p.Indices) > MaxLinks {
		return fmt.Errorf("%d link indices, the limit is %d: %w", len(p.Indices), MaxLinks, ErrLength)
	}
	for i, index := range p.Indices {
		if index == 0 {
			return fmt.Errorf("the index of link %d is 0: %w", i, ErrValue)
		}
		if slices.Contains(p.Indices[:i], index) {
			return fmt.Errorf("the index of link %d is also that of another: %w", i, ErrDuplicate)
		}
	}
	if !validName(p.Name, MaxName) {
		return fmt.Errorf("name %.80q is not UTF-8 text of at most %d bytes without control characters: %w", p.Name, MaxName, ErrValue)
	}
	if len(p.Prefixes) > MaxPrefixes {
		return fmt.Errorf("%d prefixes, the limit is %d: %w", len(p.Prefixes), MaxPrefixes, ErrLength)
	}
	for _, x := range p.Prefixes {
		if err := validPrefix(x); err != nil {
			return err
		}
	}
	if len(p.Addresses) > MaxAddresses {
		return fmt.Errorf("%d addresses, the limit is %d: %w", len(p.Addresses), MaxAddresses, ErrLength)
	}
	for _, x := range p.Addresses {
		if !x.IsValid() || x.Addr().Is4In6() {
			return fmt.Errorf("address %v is none of IPv4 or IPv6: %w", x, ErrValue)
		}
	}
	return nil
}

// Append appends the encoding of p, which must be valid.
func (p *Params) Append(b []byte) []byte {
	if p.AEADs != 0 {
		b = append(b, paramAEADs, 0, 1, p.AEADs)
	}
	if len(p.Indices) > 0 {
		n := 4 * len(p.Indices)
		b = append(b, paramIndices, uint8(n>>8), uint8(n))
		for _, index := range p.Indices {
			b = binary.BigEndian.AppendUint32(b, index)
		}
	}
	if p.Name != "" {
		n := len(p.Name)
		b = append(b, paramName, uint8(n>>8), uint8(n))
		b = append(b, p.Name...)
	}
	for _, x := range p.Prefixes {
		b = appendPrefix(b, paramPrefix, x)
	}
	for _, x := range p.Addresses {
		b = appendPrefix(b, paramAddress, x)
	}
	if p.Ethernet {
		b = append(b, paramMedium, 0, 1, 1)
	}
	if p.Client != 0 {
		b = binary.BigEndian.AppendUint64(append(b, paramClient, 0, 8), p.Client)
	}
	return b
}

func appendPrefix(b []byte, t uint8, x netip.Prefix) []byte {
	family := uint8(6)
	if x.Addr().Is4() {
		family = 4
	}
	addr := x.Addr().AsSlice()
	b = append(b, t, 0, uint8(2+len(addr)), family, uint8(x.Bits()))
	return append(b, addr...)
}

// ParseParams parses the payload of a Noise message. Fields of unknown type are
// ignored. The result is valid and shares no memory with b.
func ParseParams(b []byte) (Params, error) {
	var p Params
	var seen [paramClient + 1]bool
	for len(b) > 0 {
		if len(b) < 3 {
			return Params{}, wrap("handshake payload", ErrTruncated)
		}
		t, n := b[0], int(binary.BigEndian.Uint16(b[1:]))
		b = b[3:]
		if n > len(b) {
			return Params{}, wrap("handshake payload", ErrTruncated)
		}
		v := b[:n]
		b = b[n:]
		switch t {
		case paramAEADs, paramIndices, paramName, paramMedium, paramClient:
			if seen[t] {
				return Params{}, fmt.Errorf("handshake payload: type %d: %w", t, ErrDuplicate)
			}
			seen[t] = true
		}
		if err := p.parse(t, v); err != nil {
			return Params{}, fmt.Errorf("handshake payload: type %d: %w", t, err)
		}
	}
	if err := p.Validate(); err != nil {
		return Params{}, wrap("handshake payload", err)
	}
	return p, nil
}

func (p *Params) parse(t uint8, v []byte) error {
	switch t {
	case paramAEADs:
		if len(v) != 1 {
			return ErrLength
		}
		p.AEADs = v[0]
	case paramIndices:
		if len(v) == 0 || len(v)%4 != 0 || len(v) > 4*MaxLinks {
			return ErrLength
		}
		p.Indices = make([]uint32, 0, len(v)/4)
		for ; len(v) > 0; v = v[4:] {
			p.Indices = append(p.Indices, binary.BigEndian.Uint32(v))
		}
	case paramName:
		if len(v) > MaxName {
			return ErrLength
		}
		p.Name = string(v)
	case paramPrefix:
		if len(p.Prefixes) == MaxPrefixes {
			return ErrLength
		}
		x, err := parsePrefix(v)
		if err != nil {
			return err
		}
		p.Prefixes = append(p.Prefixes, x)
	case paramAddress:
		if len(p.Addresses) == MaxAddresses {
			return ErrLength
		}
		x, err := parsePrefix(v)
		if err != nil {
			return err
		}
		p.Addresses = append(p.Addresses, x)
	case paramMedium:
		if len(v) != 1 {
			return ErrLength
		}
		if v[0] > 1 {
			return ErrValue
		}
		p.Ethernet = v[0] == 1
	case paramClient:
		if len(v) != 8 {
			return ErrLength
		}
		p.Client = binary.BigEndian.Uint64(v)
	}
	return nil
}

func parsePrefix(v []byte) (netip.Prefix, error) {
	if len(v) < 2 {
		return netip.Prefix{}, ErrLength
	}
	addr, ok := netip.AddrFromSlice(v[2:])
	switch {
	case v[0] != 4 && v[0] != 6:
		return netip.Prefix{}, ErrValue
	case !ok || addr.Is4() != (v[0] == 4):
		return netip.Prefix{}, ErrLength
	}
	return netip.PrefixFrom(addr, int(v[1])), nil
}

func validPrefix(x netip.Prefix) error {
	switch {
	case !x.IsValid():
		return wrap("prefix", ErrValue)
	case x.Addr().Is4In6():
		return fmt.Errorf("prefix %v is IPv4-mapped: %w", x, ErrValue)
	case x != x.Masked():
		return fmt.Errorf("prefix %v has host bits, use %v: %w", x, x.Masked(), ErrValue)
	}
	return nil
}
