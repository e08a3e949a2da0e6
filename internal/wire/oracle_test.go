package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// This file says twice what a message means: once with the package's parsers, and once
// with a slow decoder written from SPEC.md alone. Both write the lines of the vector
// files in testdata.

// describePlaintext uses the parsers of the package.
func describePlaintext(p []byte) (lines []string, err error) {
	for len(p) > 0 {
		var f Frame
		if f, p, err = Next(p); err != nil {
			return lines, err
		}
		line, err := describeFrame(f)
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func describeFrame(f Frame) (string, error) {
	switch f.Type {
	case TypeData:
		d := f.Data
		return fmt.Sprintf("DATA flags=%02x stamp=%d order=%d time=%d payload=%x", d.Flags, d.Stamp, d.Order, d.Time, d.Payload), nil
	case TypePad:
		return fmt.Sprintf("PAD bytes=%d", 1+len(f.Body)), nil
	case TypePing:
		p, err := ParsePing(f.Body)
		return fmt.Sprintf("PING echo=%016x time=%d", p.Echo, p.Time), err
	case TypePong:
		p, err := ParsePong(f.Body)
		return fmt.Sprintf("PONG echo=%016x received=%d highest=%d delay=%d", p.Echo, p.Received, p.Highest, p.Delay), err
	case TypeHold:
		h, err := ParseHold(f.Body)
		equal := 0
		if h.Equal {
			equal = 1
		}
		return fmt.Sprintf("HOLD equal=%d target=%d repair=%d", equal, h.Target, h.Repair), err
	case TypeFeedback:
		return describeFeedback(f.Body)
	case TypeClose:
		c, err := ParseClose(f.Body)
		return fmt.Sprintf("CLOSE reason=%d retry_ms=%d", c.Reason, c.RetryMillis), err
	case TypeRekey:
		r, err := ParseRekey(f.Body)
		if errors.Is(err, ErrKind) {
			return fmt.Sprintf("REKEY kind=%d body=%x", f.Body[0], f.Body), nil
		}
		return fmt.Sprintf("REKEY kind=%d epoch=%d noise=%x", r.Kind, r.Epoch, r.Noise), err
	case TypePath:
		if k, proof, err := ParseProof(f.Body); !errors.Is(err, ErrKind) {
			return fmt.Sprintf("PATH kind=%d proof=%x", k, proof), err
		}
		p, err := ParsePathInfo(f.Body)
		if errors.Is(err, ErrKind) {
			return fmt.Sprintf("PATH kind=%d body=%x", f.Body[0], f.Body), nil
		}
		return fmt.Sprintf("PATH kind=0 tier=%d weight=%d name=%q", p.Tier, p.Weight, p.Name), err
	}
	return fmt.Sprintf("TYPE %02x body=%x", uint8(f.Type), f.Body), nil
}

func describeHandshake(b []byte) ([]string, error) {
	if m, _, err := ParseInit(b); !errors.Is(err, ErrKind) {
		if err != nil {
			return nil, err
		}
		return []string{fmt.Sprintf("INIT mode=%d attempt=%016x noise=%x size=%d mac1=%x token=%x", m.Mode, m.Attempt, m.Noise, m.Size, m.MAC1, m.Token)}, nil
	}
	if m, err := ParseRetry(b); !errors.Is(err, ErrKind) {
		if err != nil {
			return nil, err
		}
		return []string{fmt.Sprintf("RETRY mode=%d attempt=%016x token=%x", m.Mode, m.Attempt, m.Token)}, nil
	}
	m, err := ParseResponse(b)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("RESP mode=%d attempt=%016x noise=%x", m.Mode, m.Attempt, m.Noise)}, nil
}

func describeParams(b []byte) ([]string, error) {
	p, err := ParseParams(b)
	if err != nil {
		return nil, err
	}
	line := fmt.Sprintf("PARAMS aeads=%02x indices=%v name=%q prefixes=%v ethernet=%v", p.AEADs, p.Indices, p.Name, p.Prefixes, p.Ethernet)
	if len(p.Addresses) > 0 {
		line += fmt.Sprintf(" addresses=%v", p.Addresses)
	}
	return []string{line}, nil
}

func describeHeader(b []byte) ([]string, error) {
	index, counter, ok := ParseHeader(b)
	if !ok {
		return nil, ErrTruncated
	}
	return []string{fmt.Sprintf("HEADER index=%d counter=%d", index, counter)}, nil
}

// errNaive is the only error of the slow decoder.
var errNaive = errors.New("refused")

// A bits reads a message that it holds as a string of '0' and '1'.
type bits struct {
	s   string
	bad bool
}

func newBits(b []byte) *bits {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, "%08b", c)
	}
	return &bits{s: s.String()}
}

func (b *bits) left() int { return len(b.s) / 8 }

func (b *bits) take(n int) string {
	if n > len(b.s) {
		b.bad, b.s = true, ""
		return strings.Repeat("0", n)
	}
	t := b.s[:n]
	b.s = b.s[n:]
	return t
}

func (b *bits) number(n int) uint64 {
	var v uint64
	for _, c := range b.take(n) {
		v = v<<1 + uint64(c-'0')
	}
	return v
}

func (b *bits) bytes(n int) string {
	if n > b.left() {
		b.bad = true
		return ""
	}
	var s []byte
	for range n {
		s = append(s, byte(b.number(8)))
	}
	return string(s)
}

func (b *bits) zeros(n int) {
	if strings.Contains(b.take(n), "1") {
		b.bad = true
	}
}

func (b *bits) must(ok bool) { b.bad = b.bad || !ok }

func naivePlaintext(p []byte) (lines []string, err error) {
	b := newBits(p)
	for b.left() > 0 {
		line := naiveFrame(b)
		if b.bad {
			return lines, errNaive
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func naiveFrame(b *bits) string {
	if b.number(1) == 1 {
		lorc, ecn, hold := b.number(4), b.number(2), b.number(1)
		stamp, order, time := b.number(24), b.number(16), b.number(16)
		n := b.left()
		if lorc >= 8 {
			n = int(b.number(16))
		}
		return fmt.Sprintf("DATA flags=%02x stamp=%d order=%d time=%d payload=%x", lorc*8+ecn*2+hold, stamp, order, time, b.bytes(n))
	}
	t := b.number(7)
	if t == 0 {
		n := b.left()
		b.zeros(8 * n)
		return fmt.Sprintf("PAD bytes=%d", n+1)
	}
	body := []byte(b.bytes(int(b.number(16))))
	if b.bad {
		return ""
	}
	f := newBits(body)
	var line string
	switch t {
	case 1:
		line = fmt.Sprintf("PING echo=%016x time=%d", f.number(64), f.number(16))
	case 2:
		line = fmt.Sprintf("PONG echo=%016x received=%d highest=%d delay=%d", f.number(64), f.number(32), f.number(32), f.number(16))
	case 5:
		line = naiveFeedback(f)
	case 10:
		equal := f.number(8)
		line = fmt.Sprintf("HOLD equal=%d target=%d repair=%d", equal, f.number(16), f.number(16))
		f.bad = f.bad || equal > 1
	case 3:
		line = fmt.Sprintf("CLOSE reason=%d retry_ms=%d", f.number(8), f.number(32))
	case 4:
		kind := f.number(8)
		if kind == 1 || kind == 2 {
			line = fmt.Sprintf("PATH kind=%d proof=%x", kind, f.bytes(16))
			break
		}
		if kind != 0 {
			b.must(!f.bad)
			return fmt.Sprintf("PATH kind=%d body=%x", kind, body)
		}
		line = fmt.Sprintf("PATH kind=0 tier=%d weight=%d name=", f.number(8), f.number(64))
		line += naiveName(f, f.left(), 32)
	case 8:
		kind := f.number(8)
		if kind == 0 || kind > 3 {
			b.must(!f.bad)
			return fmt.Sprintf("REKEY kind=%d body=%x", kind, body)
		}
		epoch, n := f.number(32), f.left()
		b.must(n <= 1152 && (kind != 3 || n == 0))
		line = fmt.Sprintf("REKEY kind=%d epoch=%d noise=%x", kind, epoch, f.bytes(n))
	default:
		return fmt.Sprintf("TYPE %02x body=%x", t, body)
	}
	b.must(!f.bad && f.left() == 0)
	return line
}

func naiveName(b *bits, n, limit int) string {
	name := b.bytes(n)
	b.must(len(name) <= limit && string([]rune(name)) == name && !strings.Contains(name, "\x7f"))
	for c := rune(0); c < 32; c++ {
		b.must(!strings.ContainsRune(name, c) && !strings.ContainsRune(name, 128+c))
	}
	return fmt.Sprintf("%q", name)
}

func naiveHandshake(p []byte) ([]string, error) {
	b := newBits(p)
	b.zeros(32)
	kind := b.number(8)
	b.must(b.number(8) == 1)
	mode := b.number(8)
	b.must(mode == 0 || mode == 1)
	b.zeros(8)
	attempt := b.number(64)
	if kind == 3 {
		token := b.bytes(32)
		if b.bad || b.left() != 0 {
			return nil, errNaive
		}
		return []string{fmt.Sprintf("RETRY mode=%d attempt=%016x token=%x", mode, attempt, token)}, nil
	}
	n := int(b.number(16))
	b.must(n <= 1152)
	noise := b.bytes(n)
	line := ""
	switch kind {
	case 1:
		b.must(len(p) >= 200 && b.left() >= 48)
		if b.bad {
			return nil, errNaive
		}
		b.zeros(8 * (b.left() - 48))
		line = fmt.Sprintf("INIT mode=%d attempt=%016x noise=%x size=%d mac1=%x token=%x", mode, attempt, noise, len(p), b.bytes(16), b.bytes(32))
	case 2:
		line = fmt.Sprintf("RESP mode=%d attempt=%016x noise=%x", mode, attempt, noise)
	default:
		b.bad = true
	}
	if b.bad || b.left() != 0 {
		return nil, errNaive
	}
	return []string{line}, nil
}

func naiveParams(p []byte) ([]string, error) {
	b := newBits(p)
	count := make(map[uint64]int)
	aeads, medium, name := uint64(0), uint64(0), `""`
	var indices, prefixes, addresses []string
	for b.left() > 0 && !b.bad {
		t := b.number(8)
		v := newBits([]byte(b.bytes(int(b.number(16)))))
		if b.bad {
			break
		}
		count[t]++
		switch t {
		case 1:
			aeads = v.number(8)
		case 2:
			v.must(v.left() > 0 && v.left() <= 4*64)
			for v.left() > 0 {
				i := v.number(32)
				s := fmt.Sprint(i)
				v.must(i != 0)
				for _, other := range indices {
					v.must(s != other)
				}
				indices = append(indices, s)
			}
		case 3:
			name = naiveName(v, v.left(), 64)
		case 4:
			prefixes = append(prefixes, naivePrefix(v, false))
		case 5:
			medium = v.number(8)
			v.must(medium < 2)
		case 7:
			v.number(64)
		case 8:
			addresses = append(addresses, naivePrefix(v, true))
		default:
			v.s = ""
		}
		b.must(!v.bad && v.left() == 0)
	}
	b.must(count[1] < 2 && count[2] < 2 && count[3] < 2 && count[4] <= 32 && count[5] < 2 && count[7] < 2 && count[8] <= 4)
	if b.bad {
		return nil, errNaive
	}
	line := fmt.Sprintf("PARAMS aeads=%02x indices=%v name=%s prefixes=%v ethernet=%v", aeads, indices, name, prefixes, medium == 1)
	if len(addresses) > 0 {
		line += fmt.Sprintf(" addresses=%v", addresses)
	}
	return []string{line}, nil
}

func naivePrefix(v *bits, host bool) string {
	family, n, size := v.number(8), int(v.number(8)), 0
	switch family {
	case 4:
		size = 4
	case 6:
		size = 16
	}
	v.must(size > 0 && v.left() == size && n <= 8*size)
	if v.bad {
		return ""
	}
	v.must(host || !strings.Contains(v.s[n:], "1"))
	v.must(size == 4 || !strings.HasPrefix(v.s, strings.Repeat("0", 80)+strings.Repeat("1", 16)))
	addr, _ := netip.AddrFromSlice([]byte(v.bytes(size)))
	return fmt.Sprintf("%v/%d", addr, n)
}

func naiveHeader(p []byte) ([]string, error) {
	b := newBits(p)
	line := fmt.Sprintf("HEADER index=%d counter=%d", b.number(32), b.number(32))
	if b.bad {
		return nil, errNaive
	}
	return []string{line}, nil
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// describeFeedback reads a FEEDBACK frame with the parser.
func describeFeedback(body []byte) (string, error) {
	if err := CheckFeedback(body); err != nil {
		return "", err
	}
	line := "FEEDBACK"
	for len(body) > 0 {
		var r LinkReport
		body, _ = NextLinkReport(body, &r)
		line += fmt.Sprintf(" link=%d highest=%d age=%d arrived=%d bytes=%d", r.Link, r.Highest, r.Age, r.Arrived, r.Bytes)
		if r.HasDelay {
			line += fmt.Sprintf(" delay=%d low=%d", r.Delay, r.Low)
		}
		line += fmt.Sprintf(" runs=%v", r.Runs[:r.NumRuns])
	}
	return line, nil
}

// naiveFeedback reads one bit by bit.
func naiveFeedback(f *bits) string {
	line := "FEEDBACK"
	for first := true; first || f.left() > 0; first = false {
		link, shape := f.number(8), f.number(8)
		line += fmt.Sprintf(" link=%d highest=%d age=%d arrived=%d bytes=%d", link, f.number(32), f.number(16), f.number(32), f.number(32))
		if shape&0x80 != 0 {
			line += fmt.Sprintf(" delay=%d low=%d", f.number(16), f.number(16))
		}
		var runs []uint32
		for range shape & 0x1f {
			var n, shift uint64
			for {
				b := f.number(8)
				if f.bad || shift > 63 || shift == 63 && b > 1 {
					f.bad = true
					return line
				}
				n |= (b & 0x7f) << shift
				if shift += 7; b < 0x80 {
					f.must(b > 0 || shift == 7) // no byte too many
					break
				}
			}
			f.bad = f.bad || n == 0 || n > 1<<32-1
			runs = append(runs, uint32(n))
		}
		if f.bad = f.bad || shape&0x60 != 0 || shape&1 == 0; f.bad {
			return line
		}
		line += fmt.Sprintf(" runs=%v", runs)
	}
	return line
}
