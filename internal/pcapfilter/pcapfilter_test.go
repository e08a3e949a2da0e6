package pcapfilter

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/multilink-vpn/multilink/internal/legacy/legacytest"
)

var update = flag.Bool("update", false, "write the golden programs with the tcpdump of this system")

// corpus returns the packets of a link type: captured, generated, and cut short.
func corpus(t testing.TB, link LinkType) [][]byte {
	t.Helper()
	var pkts [][]byte
	for _, s := range legacytest.Sessions() {
		frames, _, err := legacytest.Frames(s.Name, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(frames); i += 1 + len(frames)/20 {
			pkts = append(pkts, frames[i])
		}
	}
	pkts = append(pkts, innerFrames(t)...)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1500 {
		pkts = append(pkts, generate(rng))
	}
	for i, p := range pkts {
		if link == Raw {
			p = p[14:]
			pkts[i] = p
		}
		if i%5 == 0 {
			pkts = append(pkts, p[:rng.IntN(len(p)+1)])
		}
	}
	return pkts
}

// generate makes a frame out of values that the expressions ask for, and chance.
func generate(rng *rand.Rand) []byte {
	pick := func(bytes ...byte) byte { return bytes[rng.IntN(len(bytes))] }
	addr4 := func() []byte {
		return [][]byte{{10, 92, 0, 1}, {10, 92, 0, 2}, {192, 168, 3, 4}, {224, 0, 0, 1}, {1, 2, 3, 4}, {0, 0, 0, 5}, {10, 1, 2, 3}}[rng.IntN(7)]
	}
	addr6 := func() []byte {
		a := make([]byte, 16)
		switch rng.IntN(6) {
		case 0:
			a[0], a[15] = 0xfd, 1
		case 1:
			a[0], a[1], a[15] = 0xfe, 0x80, 9
		case 2:
			a[15] = 1
		case 3:
			copy(a, []byte{0x20, 1, 0xd, 0xb8, 0x40})
		case 4:
			copy(a[10:], []byte{0xff, 0xff, 1, 2, 3, 4})
		case 5:
			a[0], a[1] = 0xff, 2
		}
		return a
	}
	ports := []uint16{0, 22, 53, 80, 443, 5060, 5061, 7001, 7776, 7777, 123, 65535, 5500, uint16(rng.Uint32())}
	port := func() []byte { p := ports[rng.IntN(len(ports))]; return []byte{byte(p >> 8), byte(p)} }
	protos := []byte{1, 2, 6, 6, 17, 17, 50, 51, 58, 89, 103, 112, 132, 9, 44}

	rest := make([]byte, rng.IntN(200))
	for i := range rest {
		rest[i] = byte(rng.Uint32())
	}
	l4 := append(append(port(), port()...), rest...)
	if len(l4) > 14 {
		l4[0] = pick(l4[0], l4[0], 8, 0, 3, 128)
		l4[12], l4[13] = pick(0x50, 0x80, l4[12]), pick(2, 18, 16, 24, 1, 4)
	}
	var ip []byte
	switch rng.IntN(7) {
	case 0, 1, 2:
		ip = append([]byte{pick(0x45, 0x45, 0x46, 0x4f), pick(0, 0xb8, 1), 0, 0, 0, 0, pick(0, 0x40, 0x20), pick(0, 0, 0, 9), pick(1, 64, 255), protos[rng.IntN(len(protos))], 0, 0}, addr4()...)
		ip = append(append(ip, addr4()...), make([]byte, int(ip[0]&15)*4-20)...)
	case 3, 4:
		ip = append([]byte{pick(0x60, 0x6b), 0, 0, 0, 0, 0, protos[rng.IntN(len(protos))], 64}, addr6()...)
		ip = append(ip, addr6()...)
		if ip[6] == 44 {
			ip = append(ip, protos[rng.IntN(len(protos))], 0, 0, 0, 1, 2, 3, 4)
		}
	case 5: // ARP
		ip = append([]byte{0, 1, 8, 0, 6, 4, 0, pick(1, 2), 2, 0x92, 0, 0, 0, 1}, addr4()...)
		ip = append(append(ip, 2, 0x92, 0, 0, 0, 2), addr4()...)
	}
	ip = append(ip, l4...)
	if len(ip) > 4 && ip[0]>>4 == 4 {
		ip[2], ip[3] = byte(len(ip)>>8), byte(len(ip))
	}
	frame := []byte{2, 0x92, 0, 0, 0, 2, 2, 0x92, 0, 0, 0, 1}
	switch rng.IntN(6) {
	case 0:
		frame = []byte{255, 255, 255, 255, 255, 255, 2, 0x92, 0, 0, 0, 1}
	case 1:
		frame = []byte{2, 0x92, 0, 0, 0, 1, 2, 0x92, 0, 0, 0, 1}
	case 2:
		frame[0] |= 1
	}
	types := [][]byte{{8, 0}, {0x86, 0xdd}, {8, 6}, {0x80, 0x35}, {0x88, 0xcc}, {0, 10}, {5, 0xdc}, {5, 0xdd}, {0, 100}}
	t := types[rng.IntN(len(types))]
	if len(ip) > 0 && rng.IntN(4) > 0 {
		switch {
		case ip[0]>>4 == 4:
			t = types[0]
		case ip[0]>>4 == 6:
			t = types[1]
		default:
			t = types[2+rng.IntN(2)]
		}
	}
	if t[0] < 6 && len(ip) > 2 {
		copy(ip, [][]byte{{0xfe, 0xfe}, {10, 10}, {0xf0, 0xf0}}[rng.IntN(3)])
	}
	return append(append(frame, t...), ip...)
}

// cases are all expressions with the link types that they are for.
func cases() (all []goldenProgram) {
	for _, e := range expressions() {
		all = append(all, goldenProgram{link: Raw, expression: e}, goldenProgram{link: Ethernet, expression: e})
	}
	for _, e := range ethernetExpressions() {
		all = append(all, goldenProgram{link: Ethernet, expression: e})
	}
	return all
}

// nothing reports whether an expression can match no packet of a link type, which this
// package refuses to compile, and so does libpcap's optimizer.
func nothing(c goldenProgram) bool {
	return c.link == Raw && (c.expression == "arp" || c.expression == "rarp")
}

// TestGolden checks that each expression decides on each packet as the program does that
// libpcap made of it.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	programs := golden(t)
	if len(programs) < 300 {
		t.Fatalf("only %d programs: run the test with -update", len(programs))
	}
	known := make(map[string]bool)
	packets := map[LinkType][][]byte{Raw: corpus(t, Raw), Ethernet: corpus(t, Ethernet)}
	for _, g := range programs {
		known[dltName(g.link)+g.expression] = true
		f, err := Compile(g.expression, g.link)
		if err != nil {
			t.Errorf("%s %q: %v", dltName(g.link), g.expression, err)
			continue
		}
		var matched int
		for _, pkt := range packets[g.link] {
			want := g.program.run(pkt)
			if want {
				matched++
			}
			if got := f.Match(pkt); got != want {
				t.Errorf("%s %q: %v, want %v for %x\n%s", dltName(g.link), g.expression, got, want, pkt, dump(f))
				break
			}
		}
		if testing.Verbose() {
			t.Logf("%s %q: %d of %d", dltName(g.link), g.expression, matched, len(packets[g.link]))
		}
	}
	for _, c := range cases() {
		if !known[dltName(c.link)+c.expression] && !nothing(c) {
			t.Errorf("%s %q has no golden program: run the test with -update", dltName(c.link), c.expression)
		}
	}
}

func dump(f *Filter) string {
	var b strings.Builder
	for i, ins := range f.Program() {
		fmt.Fprintf(&b, "%03d %v\n", i, ins)
	}
	return b.String()
}

func writeGolden(t *testing.T) {
	var b strings.Builder
	for _, c := range cases() {
		if nothing(c) {
			continue
		}
		text, err := tcpdump(c.link, c.expression, false)
		if err != nil {
			t.Fatalf("%q: %v", c.expression, err)
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\n", dltName(c.link), c.expression, text)
	}
	if err := os.WriteFile(goldenFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTcpdump does what TestGolden does with the libpcap of this system, optimized and
// not, for every eighth expression, and for all with MULTILINK_LONG=1. What its optimizer makes may differ where a packet ends within what the
// expression asks for: such packets are left out.
func TestTcpdump(t *testing.T) {
	haveTcpdump(t)
	packets := map[LinkType][][]byte{Raw: corpus(t, Raw), Ethernet: corpus(t, Ethernet)}
	for i, g := range golden(t) {
		if i%8 != 0 && os.Getenv("MULTILINK_LONG") != "1" {
			continue // it takes longer to start tcpdump than to compare
		}
		f, err := Compile(g.expression, g.link)
		if err != nil {
			t.Errorf("%q: %v", g.expression, err)
			continue
		}
		plain := program(t, g, false)
		best := program(t, g, true)
		for _, pkt := range packets[g.link] {
			want := plain.run(pkt)
			if got := f.Match(pkt); got != want {
				t.Errorf("%s %q: %v, want %v for %x", dltName(g.link), g.expression, got, want, pkt)
				break
			}
			if got := best.run(pkt); got != want && plain.run(append(pkt[:len(pkt):len(pkt)], make([]byte, 300)...)) == want {
				t.Logf("%s %q: libpcap disagrees with itself on %x", dltName(g.link), g.expression, pkt)
			}
		}
	}
	for e := range errorExpressions() {
		if text, err := tcpdump(Raw, e, false); err == nil {
			t.Errorf("libpcap compiles %q: %s", e, text)
		}
	}
}

func program(t *testing.T, g goldenProgram, optimize bool) rawProgram {
	t.Helper()
	text, err := tcpdump(g.link, g.expression, optimize)
	if err != nil {
		if optimize && strings.Contains(err.Error(), "rejects all packets") {
			return rawProgram{{code: 6}}
		}
		t.Fatalf("%q: %v", g.expression, err)
	}
	prog, err := parseProgram(text)
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

func TestErrors(t *testing.T) {
	for e, want := range errorExpressions() {
		_, err := Compile(e, Raw)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one that says %q", e, err, want)
			continue
		}
		if syntax.Offset < 0 || syntax.Offset > len(e) {
			t.Errorf("%q: the error is at %d", e, syntax.Offset)
		}
	}
	for _, e := range []string{"arp", "rarp", "arp and tcp", "ether proto 0x88cc", "not ip and arp or rarp"} {
		if _, err := Compile(e, Raw); !errors.Is(err, errNothing) && e != "not ip and arp or rarp" {
			t.Errorf("%q on a TUN device: error %v, want %v", e, err, errNothing)
		}
	}
	for _, e := range []string{"ether host 1:2:3:4:5:6", "broadcast", "multicast", "ether multicast", "ip broadcast"} {
		if _, err := Compile(e, Raw); err == nil {
			t.Errorf("%q on a TUN device: no error", e)
		}
	}
	for _, e := range []string{
		strings.Repeat("(", 5000) + "tcp" + strings.Repeat(")", 5000),
		strings.Repeat("not ", 5000) + "(",
		strings.Repeat("-", 5000) + "1 = 1",
		strings.Repeat("1+(", 90) + "len" + strings.Repeat(")", 90) + " = 1",
		strings.Repeat("a", maxExpression+1),
		strings.Repeat("tcp or ", 2000) + "udp",
	} {
		if _, err := Compile(e, Raw); err == nil {
			t.Errorf("%.40q... of %d characters: no error", e, len(e))
		}
	}
}

// TestFar checks the jumps of programs that are longer than a conditional jump reaches.
func TestFar(t *testing.T) {
	var parts []string
	for port := 2000; port < 2030; port++ {
		parts = append(parts, fmt.Sprintf("udp dst port %d", port))
	}
	e := "not (" + strings.Join(parts, " or ") + ") and ip[ip[0] - 0x45] = 0x45"
	f, err := Compile(e, Raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Program()) < 300 {
		t.Fatalf("only %d instructions", len(f.Program()))
	}
	for port := 1990; port < 2040; port++ {
		pkt := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, byte(port >> 8), byte(port)}, 0, 8, 0, 0)
		if got, want := f.Match(pkt), port < 2000 || port >= 2030; got != want {
			t.Errorf("port %d: %v, want %v", port, got, want)
		}
	}
}

// TestDistances does the same for every distance of a jump around the limit.
func TestDistances(t *testing.T) {
	pkt := []byte{0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	check := func(e string, want bool) {
		t.Helper()
		f, err := Compile(e, Raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(pkt); got != want {
			t.Errorf("%d instructions: %v, want %v", len(f.Program()), got, want)
		}
	}
	// The tail shifts what is before it by an even or an odd number of instructions.
	for _, tail := range []string{"len = 20", "len + 1 = 21"} {
		first := "len = 20"
		matches, fails := first, "not "+first
		for n := range 140 {
			check(matches+" or "+tail, true)
			check(fails+" or not "+tail, false)
			check(fails+" or "+tail, true)
			matches += fmt.Sprintf(" or len = %d", 1000+n) // two more
			fails += fmt.Sprintf(" or len = %d", 1000+n)
		}
		matches, fails = first, "not "+first
		for n := range 140 {
			check(matches+" and "+tail, true)
			check(matches+" and not "+tail, false)
			check(fails+" and "+tail, false)
			check("len > 20"+strings.TrimPrefix(matches, first)+" and "+tail, false) // but for the first, all hold
			matches += fmt.Sprintf(" and len < %d", 1000+n)
			fails += fmt.Sprintf(" and len > %d", 1000+n)
		}
	}
}

// TestBounds checks that no load gets an index beyond every packet, which an int of 32
// bits cannot hold.
func TestBounds(t *testing.T) {
	for _, e := range []string{"ip[-1] = 1", "tcp[ip[0]:2] = 1", "ip[70000] = 1", "ip6[len - 100:4] = 1"} {
		f, err := Compile(e, Raw)
		if err != nil {
			t.Fatal(err)
		}
		checked := false
		for _, ins := range f.Program() {
			switch ins := ins.(type) {
			case bpf.JumpIf:
				checked = checked || ins.Cond == bpf.JumpGreaterThan && ins.Val == farIndex
			case bpf.LoadIndirect:
				if !checked {
					t.Errorf("%q: an index is not checked\n%s", e, dump(f))
				}
			}
		}
		if !checked {
			t.Errorf("%q: no index is checked\n%s", e, dump(f))
		}
	}
}

func TestAllocs(t *testing.T) {
	f, err := Compile("udp portrange 5000-6000 or tcp[tcpflags] & tcp-syn != 0", Raw)
	if err != nil {
		t.Fatal(err)
	}
	pkts := corpus(t, Raw)
	if n := testing.AllocsPerRun(10, func() {
		for _, p := range pkts {
			f.Match(p)
		}
	}); n != 0 {
		t.Errorf("%g allocations for %d packets", n, len(pkts))
	}
}

// FuzzMatch compares verdicts on packets of chance with those of libpcap's programs.
func FuzzMatch(f *testing.F) {
	for i, p := range corpus(f, Ethernet) {
		f.Add(uint16(i), p)
	}
	programs := golden(f)
	filters := make([]*Filter, len(programs))
	for i, g := range programs {
		var err error
		if filters[i], err = Compile(g.expression, g.link); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, which uint16, pkt []byte) {
		i := int(which) % len(programs)
		if got, want := filters[i].Match(pkt), programs[i].program.run(pkt); got != want {
			t.Errorf("%s %q: %v, want %v for %x", dltName(programs[i].link), programs[i].expression, got, want, pkt)
		}
	})
}

// FuzzCompile checks that nothing makes the compiler panic, or write a program that the
// kernel would refuse.
func FuzzCompile(f *testing.F) {
	for _, c := range cases() {
		f.Add(c.expression, c.link == Ethernet)
	}
	for e := range errorExpressions() {
		f.Add(e, false)
	}
	f.Fuzz(func(t *testing.T, expression string, ethernet bool) {
		link := Raw
		if ethernet {
			link = Ethernet
		}
		filter, err := Compile(expression, link)
		if err != nil {
			return
		}
		if _, err := bpf.Assemble(filter.Program()); err != nil {
			t.Errorf("%q: %v", expression, err)
		}
		filter.Match(make([]byte, 60))
	})
}

func BenchmarkMatch(b *testing.B) {
	pkt := append([]byte{0x45, 0, 5, 0xdc, 0, 0, 0, 0, 64, 6, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 1, 1}, make([]byte, 1400)...)
	for _, e := range []string{"udp port 5060", "tcp[tcpflags] & tcp-syn != 0", "host 10.0.0.1"} {
		f, err := Compile(e, Raw)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(e, func(b *testing.B) {
			for b.Loop() {
				f.Match(pkt)
			}
		})
	}
}
