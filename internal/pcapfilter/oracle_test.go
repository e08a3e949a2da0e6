package pcapfilter

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/internal/legacy/legacytest"
)

// A rawProgram is a program as libpcap writes it.
type rawProgram []rawInstruction

type rawInstruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// run is a naive interpreter of classic BPF (McCanne and Jacobson, "The BSD Packet
// Filter", 1993).
func (prog rawProgram) run(pkt []byte) bool {
	var a, x uint32
	var mem [16]uint32
	load := func(at uint64, size uint64) (v uint32, ok bool) {
		if at+size > uint64(len(pkt)) {
			return 0, false
		}
		for _, b := range pkt[at : at+size] {
			v = v<<8 | uint32(b)
		}
		return v, true
	}
	for pc := 0; ; pc++ {
		i := prog[pc]
		ok := true
		size := map[uint16]uint64{0x00: 4, 0x08: 2, 0x10: 1}[i.code&0x18]
		switch i.code & 0x07 {
		case 0x00: // ld
			switch i.code & 0xe0 {
			case 0x00:
				a = i.k
			case 0x20:
				a, ok = load(uint64(i.k), size)
			case 0x40:
				a, ok = load(uint64(i.k)+uint64(x), size)
			case 0x60:
				a = mem[i.k]
			case 0x80:
				a = uint32(len(pkt))
			}
		case 0x01: // ldx
			switch i.code & 0xe0 {
			case 0x00:
				x = i.k
			case 0x60:
				x = mem[i.k]
			case 0x80:
				x = uint32(len(pkt))
			case 0xa0:
				x, ok = load(uint64(i.k), 1)
				x = 4 * (x & 15)
			}
		case 0x02:
			mem[i.k] = a
		case 0x03:
			mem[i.k] = x
		case 0x04: // alu
			v := i.k
			if i.code&0x08 != 0 {
				v = x
			}
			switch i.code & 0xf0 {
			case 0x00:
				a += v
			case 0x10:
				a -= v
			case 0x20:
				a *= v
			case 0x30:
				if ok = v != 0; ok {
					a /= v
				}
			case 0x40:
				a |= v
			case 0x50:
				a &= v
			case 0x60:
				a <<= v
			case 0x70:
				a >>= v
			case 0x80:
				a = -a
			case 0x90:
				if ok = v != 0; ok {
					a %= v
				}
			case 0xa0:
				a ^= v
			}
		case 0x05: // jmp
			v := i.k
			if i.code&0x08 != 0 {
				v = x
			}
			var yes bool
			switch i.code & 0xf0 {
			case 0x00:
				pc += int(i.k)
				continue
			case 0x10:
				yes = a == v
			case 0x20:
				yes = a > v
			case 0x30:
				yes = a >= v
			case 0x40:
				yes = a&v != 0
			}
			if yes {
				pc += int(i.jt)
			} else {
				pc += int(i.jf)
			}
		case 0x06: // ret
			return i.k != 0
		case 0x07: // misc
			if i.code&0x80 != 0 {
				a = x
			} else {
				x = a
			}
		}
		if !ok {
			return false
		}
	}
}

// parseProgram reads what tcpdump -ddd writes, with blanks or lines between.
func parseProgram(text string) (rawProgram, error) {
	fields := strings.Fields(text)
	if len(fields) < 5 || len(fields)%4 != 1 {
		return nil, fmt.Errorf("%d numbers", len(fields))
	}
	var numbers []uint64
	for _, f := range fields {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	var prog rawProgram
	for n := numbers[1:]; len(n) > 0; n = n[4:] {
		prog = append(prog, rawInstruction{uint16(n[0]), uint8(n[1]), uint8(n[2]), uint32(n[3])})
	}
	return prog, nil
}

// dltName is how tcpdump calls a link type.
func dltName(link LinkType) string {
	if link == Ethernet {
		return "EN10MB"
	}
	return "RAW"
}

// tcpdump has libpcap compile an expression.
func tcpdump(link LinkType, expression string, optimize bool) (string, error) {
	args := []string{"-y", dltName(link), "-ddd"}
	if !optimize {
		args = append(args, "-O")
	}
	out, err := exec.Command("tcpdump", append(args, "--", expression)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return strings.Join(strings.Fields(string(out)), " "), nil
}

// haveTcpdump skips a test without tcpdump, unless the tests are to decide.
func haveTcpdump(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
			t.Fatal("tcpdump is missing: apt-get install tcpdump")
		}
		t.Skip("needs tcpdump")
	}
}

// A goldenProgram is what libpcap made of an expression.
type goldenProgram struct {
	link       LinkType
	expression string
	text       string
	program    rawProgram
}

const goldenFile = "testdata/libpcap-1.10.3.txt"

// golden reads the committed programs: lines of link type, expression and program with
// tabs between.
func golden(t testing.TB) (all []goldenProgram) {
	t.Helper()
	f, err := os.Open(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		if len(parts) != 3 {
			t.Fatalf("%s: %d parts in %q", goldenFile, len(parts), lines.Text())
		}
		g := goldenProgram{expression: parts[1], text: parts[2]}
		if parts[0] == dltName(Ethernet) {
			g.link = Ethernet
		}
		if g.program, err = parseProgram(g.text); err != nil {
			t.Fatalf("%s: %q: %v", goldenFile, parts[1], err)
		}
		all = append(all, g)
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return all
}

// innerFrames returns the packets that the captured datagrams carried, as frames.
func innerFrames(t testing.TB) (frames [][]byte) {
	t.Helper()
	packets, err := legacytest.Packets()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if p.Type != 3 {
			continue
		}
		inner, err := hex.DecodeString(p.Plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if p.Tuntap == "tun" {
			inner = append([]byte{2, 0x92, 0, 0, 0, 2, 2, 0x92, 0, 0, 0, 1, 8, 0}, inner...)
		}
		frames = append(frames, inner)
	}
	return frames
}
