package mlvpn

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A tap is a network without delay whose every datagram an attacker sees, may hold
// back, and may inject at will.
type tap struct {
	mu      sync.Mutex // guards the following
	links   []*tapLink
	sockets []*tapSocket
	log     []recorded
	strays  int                             // datagrams sent to addresses of no link, RETRYs aside
	hold    func(up bool, data []byte) bool // if not nil and true, the datagram does not arrive

	stray        []recorded // those
	strayBytes   int        // their length
	strayRetries int
}

// A recorded datagram is one that an end sent.
type recorded struct {
	line int
	up   bool // to the server
	data []byte
	held bool // it has not arrived
}

type tapLink struct {
	tap  *tap
	line int
	in   *memQueue
	addr link.Addr
}

type tapSocket struct {
	tap  *tap
	line int
	in   *memQueue
}

func newTap(lines int) *tap {
	tp := &tap{}
	for i := range lines {
		tp.links = append(tp.links, &tapLink{
			tap: tp, line: i, in: newMemQueue(1 << 20),
			addr: link.Addr{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}), 4000)},
		})
		tp.sockets = append(tp.sockets, &tapSocket{tap: tp, line: i, in: newMemQueue(1 << 20)})
	}
	return tp
}

// record notes a datagram and reports whether it arrives.
func (tp *tap) record(line int, up bool, data []byte) bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	held := tp.hold != nil && tp.hold(up, data)
	tp.log = append(tp.log, recorded{line, up, slices.Clone(data), held})
	return !held
}

// filter holds back the datagrams of which hold is true, from now on.
func (tp *tap) filter(hold func(up bool, data []byte) bool) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.hold = hold
}

// sent returns all datagrams so far of which want is true.
func (tp *tap) sent(want func(r *recorded) bool) (out []recorded) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for i := range tp.log {
		if want == nil || want(&tp.log[i]) {
			out = append(out, tp.log[i])
		}
	}
	return out
}

// count returns how many datagrams both ends have sent.
func (tp *tap) count() int {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return len(tp.log)
}

// toServer injects a datagram at the server, as if it came from an address.
func (tp *tap) toServer(line int, from link.Addr, data []byte) {
	tp.mu.Lock()
	in := tp.sockets[line].in
	tp.mu.Unlock()
	if !in.put(data, from) {
		panic("the tap is full")
	}
}

// toClient injects a datagram at the client.
func (tp *tap) toClient(line int, data []byte) {
	if !tp.link(line).in.put(data, link.Addr{}) {
		panic("the tap is full")
	}
}

// replay injects a datagram where it was to arrive.
func (tp *tap) replay(r recorded) {
	if r.up {
		tp.toServer(r.line, tp.link(r.line).addr, r.data)
	} else {
		tp.toClient(r.line, r.data)
	}
}

func (l *tapLink) Send(pkts [][]byte) (int, error) {
	for _, pkt := range pkts {
		if l.tap.record(l.line, true, pkt) {
			l.tap.toServer(l.line, l.addr, pkt)
		}
	}
	return len(pkts), nil
}

func (l *tapLink) Receive(bufs [][]byte, sizes []int) (int, error) {
	return l.in.take(bufs, sizes, nil)
}

func (l *tapLink) MTU() int { return memMTU }

func (l *tapLink) Close() error {
	l.in.close()
	return nil
}

func (s *tapSocket) SendTo(pkts [][]byte, to link.Addr) (int, error) {
	for _, pkt := range pkts {
		arrives := s.tap.record(s.line, false, pkt)
		switch {
		case to != s.tap.link(s.line).addr:
			s.tap.mu.Lock()
			if kindOf(pkt) == "RETRY" {
				s.tap.strayRetries++
			} else {
				s.tap.strays++
				s.tap.strayBytes += len(pkt)
				s.tap.stray = append(s.tap.stray, recorded{line: s.line, data: slices.Clone(pkt)})
			}
			s.tap.mu.Unlock()
		case arrives:
			s.tap.toClient(s.line, pkt)
		}
	}
	return len(pkts), nil
}

func (s *tapSocket) ReceiveFrom(bufs [][]byte, sizes []int, from []link.Addr) (int, error) {
	return s.in.take(bufs, sizes, from)
}

func (s *tapSocket) LocalAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(5000+s.line))
}

func (s *tapSocket) MTU() int { return memMTU }

func (s *tapSocket) Close() error {
	s.in.close()
	return nil
}

// A victim is a server and a client behind a tap, in a synctest bubble.
type victim struct {
	*world
	tap        *tap
	slog, clog *logRecorder
}

type victimConfig struct {
	lines  int
	hold   func(up bool, data []byte) bool // from the start
	client func(*ClientConfig)
	server func(*ServerConfig)
}

func newVictim(t *testing.T, cfg victimConfig) *victim {
	t.Helper()
	v := &victim{tap: newTap(cfg.lines), slog: &logRecorder{}, clog: &logRecorder{}}
	v.tap.hold = cfg.hold
	w := &world{t: t, log: &eventLog{}}
	v.world = w
	serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
	w.sc = ServerConfig{
		Config:  Config{Key: serverKey, Logger: slog.New(v.slog), NewScheduler: weighted},
		Clients: []Peer{{Name: "alice", Key: clientKey.Public()}},
	}
	w.cc = ClientConfig{
		Config: Config{Key: clientKey, Logger: slog.New(v.clog), OnEvent: w.log.add, NewScheduler: weighted},
		Server: serverKey.Public(),
	}
	if cfg.server != nil {
		cfg.server(&w.sc)
	}
	if cfg.client != nil {
		cfg.client(&w.cc)
	}
	v.startServer()
	v.startClient()
	return v
}

func (v *victim) startServer() {
	v.t.Helper()
	v.sdev = tuntest.New(tuntest.Config{Name: "srv0", MTU: 1400, Queue: 1 << 14, TAP: v.sc.Ethernet})
	v.sc.Device = v.sdev
	var err error
	if v.server, err = NewServer(v.sc); err != nil {
		v.t.Fatal(err)
	}
	for i, s := range v.tap.sockets {
		if err := v.server.AddSocket(s, LinkConfig{Name: string(rune('a' + i))}); err != nil {
			v.t.Fatal(err)
		}
	}
	v.stopServer = v.run("server", v.server.Run)
}

func (v *victim) startClient() {
	v.t.Helper()
	v.cdev = tuntest.New(tuntest.Config{Name: "cli0", MTU: 1400, Queue: 1 << 14, TAP: v.cc.Ethernet})
	v.cc.Device = v.cdev
	var err error
	if v.client, err = NewClient(v.cc); err != nil {
		v.t.Fatal(err)
	}
	v.ids = nil
	for i, l := range v.tap.links {
		id, err := v.client.AddLink(l, LinkConfig{Name: string(rune('a' + i))})
		if err != nil {
			v.t.Fatal(err)
		}
		v.ids = append(v.ids, id)
	}
	v.stopClient = v.run("client", v.client.Run)
}

// renewSockets makes fresh ends for the tap's lines, for a server that restarts.
func (tp *tap) renewSockets() {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for i := range tp.sockets {
		tp.sockets[i] = &tapSocket{tap: tp, line: i, in: newMemQueue(1 << 20)}
	}
}

// renewLinks does so for a client.
func (tp *tap) renewLinks() {
	for i := range tp.links {
		tp.renewLink(i)
	}
}

// renewLink makes a fresh link that takes the place of a line's present one.
func (tp *tap) renewLink(i int) *tapLink {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.links[i] = &tapLink{tap: tp, line: i, in: newMemQueue(1 << 20), addr: tp.links[i].addr}
	return tp.links[i]
}

// link returns the link of a line.
func (tp *tap) link(i int) *tapLink {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.links[i]
}

// snapshot is everything that an attack must leave as it is.
type snapshot struct {
	client, server         Stats
	cdev, sdev             tuntest.Stats
	sent, strays, retries  int // not counting RETRYs, nor their strays; those
	clientDrop, serverDrop Drops
}

// look takes a snapshot of a quiet world.
func (v *victim) look() snapshot {
	synctest.Wait()
	s := snapshot{client: v.client.Stats(), server: v.server.Stats(), cdev: v.cdev.Stats(), sdev: v.sdev.Stats()}
	s.retries = len(v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "RETRY" }))
	s.sent = v.tap.count() - s.retries
	v.tap.mu.Lock()
	s.strays = v.tap.strays
	v.tap.mu.Unlock()
	s.clientDrop, s.serverDrop = s.client.Drops, s.server.Drops
	s.client.Drops, s.server.Drops = Drops{}, Drops{}
	for _, st := range []*Stats{&s.client, &s.server} {
		for i := range st.Sessions {
			st.Sessions[i].NotIP, st.Sessions[i].Spoofed = 0, 0
			for j := range st.Sessions[i].Links {
				st.Sessions[i].Links[j].Replayed = 0 // a drop counter, too
			}
		}
	}
	return s
}

// unchanged fails the test if anything but drop counters has changed since before, or
// anything but RETRYs was sent. It returns what was dropped.
func (v *victim) unchanged(what string, before snapshot) (client, server Drops) {
	v.t.Helper()
	after := v.look()
	if after.sent != before.sent {
		v.t.Errorf("%s: %d datagrams were sent in answer", what, after.sent-before.sent)
	}
	if after.strays != before.strays {
		v.t.Errorf("%s: %d datagrams were sent to another address", what, after.strays-before.strays)
	}
	if after.cdev != before.cdev || after.sdev != before.sdev {
		v.t.Errorf("%s: packets were delivered: client %+v, then %+v; server %+v, then %+v", what, before.cdev, after.cdev, before.sdev, after.sdev)
	}
	for _, x := range []struct {
		who           string
		before, after Stats
	}{{"client", before.client, after.client}, {"server", before.server, after.server}} {
		if !reflect.DeepEqual(x.before, x.after) {
			v.t.Errorf("%s: the %s's state has changed from\n%+v\nto\n%+v", what, x.who, x.before, x.after)
		}
	}
	return minus(after.clientDrop, before.clientDrop), minus(after.serverDrop, before.serverDrop)
}

func minus(a, b Drops) Drops {
	va, vb := reflect.ValueOf(&a).Elem(), reflect.ValueOf(b)
	for i := range va.NumField() {
		va.Field(i).SetUint(va.Field(i).Uint() - vb.Field(i).Uint())
	}
	return a
}

func total(d Drops) (n uint64) {
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		n += v.Field(i).Uint()
	}
	return n
}

// works checks that packets still pass in both directions.
func (v *victim) works(what string) {
	v.t.Helper()
	receive(v.t, v.cdev)
	receive(v.t, v.sdev)
	v.inject(v.cdev, udp(true, 7, 71, 600))
	v.inject(v.sdev, udp(false, 7, 72, 600))
	v.sleep(10 * time.Millisecond)
	if got := receive(v.t, v.sdev); !slices.Equal(got, []uint64{71}) {
		v.t.Errorf("%s: the server's device got %v, want the client's packet", what, got)
	}
	if got := receive(v.t, v.cdev); !slices.Equal(got, []uint64{72}) {
		v.t.Errorf("%s: the client's device got %v, want the server's packet", what, got)
	}
}

// logRecorder keeps what is logged at level Warn and above.
type logRecorder struct {
	mu    sync.Mutex
	lines []string
}

func (l *logRecorder) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

func (l *logRecorder) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, b.String())
	return nil
}

func (l *logRecorder) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logRecorder) WithGroup(string) slog.Handler      { return l }

func (l *logRecorder) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// Sizes of control datagrams, in bytes: header, frames, tag.
const (
	pingSize  = wire.HeaderSize + 13 + crypto.Overhead
	pongSize  = wire.HeaderSize + 21 + crypto.Overhead
	closeSize = wire.HeaderSize + 8 + crypto.Overhead
)

// kindOf tells what a recorded datagram is, by what is visible and by its size.
func kindOf(data []byte) string {
	if k, _, ok := wire.HandshakeType(data); ok {
		return [...]string{"", "INIT", "RESP", "RETRY"}[k]
	}
	switch len(data) {
	case pingSize:
		return "PING"
	case pongSize:
		return "PONG"
	case closeSize:
		return "CLOSE"
	}
	if len(data) > 200 {
		return "DATA"
	}
	return "PING+INFO"
}

// hasToken reports whether an INIT has a token.
func hasToken(init []byte) bool {
	return !bytes.Equal(init[len(init)-wire.TokenSize:], make([]byte, wire.TokenSize))
}

// proved returns an INIT with the token that the server gives an address for it.
func (v *victim) proved(init []byte, line int, from link.Addr) []byte {
	v.t.Helper()
	start := v.tap.count()
	init = slices.Clone(init)
	wire.SetToken(init, [wire.TokenSize]byte{})
	v.tap.toServer(line, from, init)
	synctest.Wait()
	for _, r := range v.tap.sent(nil)[start:] {
		if m, err := wire.ParseRetry(r.data); err == nil && !r.up {
			wire.SetToken(init, m.Token)
			return init
		}
	}
	v.t.Fatal("the server did not answer an INIT without a token")
	return nil
}

// capture lets each end send the other one datagram of each kind that does not
// arrive, and returns them: they are authentic and their numbers are unused.
func (v *victim) capture() (caught []recorded) {
	v.t.Helper()
	start := v.tap.count()
	v.tap.filter(func(_ bool, data []byte) bool { return kindOf(data) == "DATA" || kindOf(data) == "PONG" })
	v.inject(v.cdev, udp(true, 1, 1000, 600))
	v.inject(v.sdev, udp(false, 1, 1000, 600))
	v.sleep(500 * time.Millisecond)
	v.tap.filter(func(_ bool, data []byte) bool { return kindOf(data) == "PING" })
	v.sleep(500 * time.Millisecond)
	v.tap.filter(nil)
	v.sleep(2 * time.Second)
	have := make(map[string]bool)
	for _, r := range v.tap.sent(nil)[start:] {
		key := kindOf(r.data)
		if r.up {
			key += " up"
		}
		if r.held && !have[key] {
			have[key] = true
			caught = append(caught, r)
		}
	}
	if len(have) != 6 {
		v.t.Fatalf("captured %v, want DATA, PING and PONG in both directions", have)
	}
	return caught
}

func TestGarbage(t *testing.T) { synctest.Test(t, testGarbage) }

// Garbage of every size, without and with headers that are known to mean something,
// changes nothing and is all counted.
func testGarbage(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer v.close()
	v.sleep(time.Second)
	v.works("before")
	rng := rand.New(rand.NewPCG(1, 2))
	var headers [][]byte
	for _, r := range v.tap.sent(nil) {
		headers = append(headers, r.data[:min(len(r.data), 20)])
	}
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	before := v.look()
	n := uint64(0)
	for size := range 2001 {
		for kind := range 5 {
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			switch kind {
			case 1: // looks like a handshake
				copy(data, []byte{0, 0, 0, 0, byte(1 + rng.IntN(3)), 1, byte(rng.IntN(2)), 0})
			case 2: // a real header with garbage behind it
				copy(data, headers[rng.IntN(len(headers))][:8])
			case 3: // more of a real beginning
				copy(data, headers[rng.IntN(len(headers))])
			case 4: // a real index with garbage behind it
				copy(data, headers[rng.IntN(len(headers))][:4])
			}
			line := rng.IntN(2)
			from := v.tap.link(line).addr
			if rng.IntN(2) == 0 {
				from = foreign
			}
			v.tap.toServer(line, from, data)
			v.tap.toClient(line, data)
			n++
		}
		synctest.Wait()
	}
	client, server := v.unchanged("garbage", before)
	if total(client) != n || total(server) != n {
		t.Errorf("of %d datagrams each the client counted %d (%+v) and the server %d (%+v)", n, total(client), client, total(server), server)
	}
	for _, d := range []Drops{client, server} {
		if d.Malformed == 0 || d.UnknownIndex == 0 || d.Unauthentic == 0 || d.Replayed == 0 {
			t.Errorf("drops %+v: some reasons are missing", d)
		}
	}
	v.works("after")
}

func TestTruncated(t *testing.T) { synctest.Test(t, testTruncated) }

// Every truncation and some extensions of real datagrams that have not arrived change
// nothing; then the real ones are still taken.
func testTruncated(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	for _, r := range v.capture() {
		what := kindOf(r.data)
		before := v.look()
		n := uint64(0)
		for size := range len(r.data) {
			v.tap.replay(recorded{line: r.line, up: r.up, data: r.data[:size]})
			n++
		}
		for _, extra := range []int{1, 2, 16, 100, 400} {
			v.tap.replay(recorded{line: r.line, up: r.up, data: append(slices.Clone(r.data), make([]byte, extra)...)})
			n++
		}
		client, server := v.unchanged(what+" cut", before)
		d := client
		if r.up {
			d = server
		}
		if d.Malformed != 8 || d.Unauthentic != n-8 || total(d) != n {
			t.Errorf("%s cut: drops %+v, want 8 malformed and %d unauthentic", what, d, n-8)
		}
	}
	v.works("after")
}

func TestBitFlips(t *testing.T) { synctest.Test(t, testBitFlips) }

// Every single flipped bit of DATA, PING and PONG makes them void, and does not keep
// the real ones out.
func testBitFlips(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	caught := v.capture()
	for _, r := range caught {
		what := kindOf(r.data)
		before := v.look()
		for bit := range 8 * len(r.data) {
			v.tap.replay(flip(r, bit))
		}
		client, server := v.unchanged(what+" with a flipped bit", before)
		d := client
		if r.up {
			d = server
		}
		// The first 32 bits are the index. A flipped counter may be one seen before.
		if n := uint64(8 * len(r.data)); d.UnknownIndex+d.Malformed != 32 || d.Unauthentic+d.Replayed != n-32 || d.Replayed > 32 || total(d) != n {
			t.Errorf("%s with flipped bits: drops %+v of %d", what, d, n)
		}
	}
	receive(t, v.cdev)
	receive(t, v.sdev)
	for _, r := range caught {
		v.tap.replay(r)
	}
	synctest.Wait()
	if up, down := receive(t, v.sdev), receive(t, v.cdev); !slices.Equal(up, []uint64{1000}) || !slices.Equal(down, []uint64{1000}) {
		t.Errorf("after the forgeries the real DATA were not taken: %v and %v", up, down)
	}
	v.works("after")
}

// pause lets an end deal with handshakes before more wait than it admits.
func (v *victim) pause(i int) {
	if i%(maxHandshakes/2) == 0 {
		synctest.Wait()
	}
}

func flip(r recorded, bit int) recorded {
	data := slices.Clone(r.data)
	data[bit/8] ^= 0x80 >> (bit % 8)
	return recorded{line: r.line, up: r.up, data: data}
}

func TestCloseFlips(t *testing.T) { synctest.Test(t, testCloseFlips) }

// The same for CLOSE, which the client sends as its last words.
func testCloseFlips(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.tap.filter(func(up bool, data []byte) bool { return up && kindOf(data) == "CLOSE" })
	v.stopClient()
	caught := v.tap.sent(func(r *recorded) bool { return r.held })
	if len(caught) != lastWords {
		t.Fatalf("the client sent %d CLOSEs", len(caught))
	}
	before := v.look()
	for bit := range 8 * closeSize {
		v.tap.replay(flip(caught[0], bit))
	}
	_, d := v.unchanged("CLOSE with a flipped bit", before)
	if n := uint64(8 * closeSize); d.UnknownIndex+d.Malformed != 32 || d.Unauthentic+d.Replayed != n-32 || total(d) != n {
		t.Errorf("CLOSE with flipped bits: drops %+v of %d", d, n)
	}
	v.tap.replay(caught[0])
	synctest.Wait()
	if st := v.server.Stats(); len(st.Sessions) != 0 {
		t.Errorf("after the real CLOSE the server has %+v", st.Sessions)
	}
}

func TestHandshakeFlips(t *testing.T) { synctest.Test(t, testHandshakeFlips) }

// Every flipped bit of an INIT and of a RESP, before the real one arrives, makes them
// void. A token is not a part of the message, and worth nothing with a bit flipped.
func testHandshakeFlips(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1, hold: func(up bool, data []byte) bool {
		return kindOf(data) == "RESP" || kindOf(data) == "INIT" && hasToken(data)
	}})
	defer v.close()
	v.sleep(100 * time.Millisecond)
	inits := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "INIT" && hasToken(r.data) })
	if len(inits) == 0 {
		t.Fatal("the client sent no INIT")
	}
	init := inits[0]
	before := v.look()
	covered := 8 * (len(init.data) - wire.TokenSize)
	for bit := range covered {
		v.tap.replay(flip(init, bit))
		v.pause(bit)
	}
	_, d := v.unchanged("INIT with a flipped bit", before)
	if d.UnknownIndex != 32 || d.Malformed == 0 || d.BadHandshakes == 0 || d.UnknownIndex+d.Malformed+d.BadHandshakes != uint64(covered) || total(d) != uint64(covered) {
		t.Errorf("INIT with flipped bits: drops %+v of %d", d, covered)
	}

	v.tap.replay(init)
	synctest.Wait()
	resps := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "RESP" })
	if len(resps) != 1 {
		t.Fatalf("the server answered %d times", len(resps))
	}
	// Copies of the INIT get the same answer while the session is pending, those with
	// another token a RETRY.
	const copies = 20
	retries := v.look().retries
	for bit := covered; bit < 8*len(init.data); bit++ {
		v.tap.replay(flip(init, bit))
	}
	synctest.Wait()
	for range copies {
		v.tap.replay(init)
	}
	synctest.Wait()
	again := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "RESP" })
	if len(again) != 1+copies {
		t.Errorf("the server answered %d copies %d times", copies, len(again)-1)
	}
	if n := v.look().retries - retries; n != 8*wire.TokenSize {
		t.Errorf("%d of %d copies with another token got a RETRY", n, 8*wire.TokenSize)
	}
	for _, r := range again {
		if !bytes.Equal(r.data, resps[0].data) {
			t.Error("the answer to a copy differs from the first")
		}
		if len(r.data) > len(init.data) {
			t.Error("RESP is longer than INIT")
		}
	}

	before = v.look()
	for bit := range 8 * len(resps[0].data) {
		v.tap.replay(flip(resps[0], bit))
		v.pause(bit)
	}
	client, _ := v.unchanged("RESP with a flipped bit", before)
	if n := uint64(8 * len(resps[0].data)); client.UnknownIndex != 32 || client.Malformed+client.Refused != n-32 || total(client) != n {
		t.Errorf("RESP with flipped bits: drops %+v of %d", client, n)
	}
	v.tap.filter(nil)
	v.tap.replay(resps[0])
	v.sleep(time.Second)
	v.works("after the real handshake")
}

func TestReplays(t *testing.T) { synctest.Test(t, testReplays) }

// Whatever was recorded changes nothing when it is sent again: the same way, on the
// other link, from a foreign address, back to its sender, in the next session, and to
// a server that was started anew.
func testReplays(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer func() { v.close() }()
	v.sleep(time.Second)
	v.works("before")
	for i := range uint64(20) {
		v.inject(v.cdev, udp(true, 1, i, 500))
		v.inject(v.sdev, udp(false, 1, i, 500))
	}
	v.sleep(time.Second)
	log := v.tap.sent(nil)
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	for _, x := range []struct {
		what string
		send func(r recorded)
	}{
		{"replay", v.tap.replay},
		{"replay on the other link", func(r recorded) {
			r.line = 1 - r.line
			v.tap.replay(r)
		}},
		{"replay from a foreign address", func(r recorded) {
			if r.up {
				v.tap.toServer(r.line, foreign, r.data)
			} else {
				v.tap.toClient(r.line, r.data)
			}
		}},
		{"reflection", func(r recorded) {
			r.up = !r.up
			v.tap.replay(r)
		}},
		{"reflection from a foreign address", func(r recorded) {
			if r.up {
				v.tap.toClient(1-r.line, r.data)
			} else {
				v.tap.toServer(1-r.line, foreign, r.data)
			}
		}},
	} {
		before, stray := v.look(), v.tap.strayRetries
		rounds := times(1, 3000)
		for range rounds {
			for i, r := range log {
				x.send(r)
				v.pause(i)
			}
			synctest.Wait()
		}
		client, server := v.unchanged(x.what, before)
		if n := total(client) + total(server) + uint64(v.tap.strayRetries-stray); n != uint64(rounds*len(log)) {
			t.Errorf("%s: of %d datagrams %d were counted: client %+v, server %+v", x.what, rounds*len(log), n, client, server)
		}
		if (x.what == "replay") != (server.ReplayedInits > 0) {
			t.Errorf("%s: %d replayed INITs: only those from where they were sent first have a token", x.what, server.ReplayedInits)
		}
		if strings.HasPrefix(x.what, "replay") && (server.Replayed == 0 || client.Replayed == 0 || client.Refused == 0) {
			t.Errorf("%s: drops: client %+v, server %+v", x.what, client, server)
		}
	}
	v.works("after replays")

	// The next session of the same client.
	v.stopClient()
	v.tap.renewLinks()
	v.startClient()
	v.sleep(time.Second)
	v.works("in the next session")
	before := v.look()
	for _, r := range log {
		v.tap.replay(r)
	}
	client, server := v.unchanged("replay in the next session", before)
	if n := total(client) + total(server); n != uint64(len(log)) || server.UnknownIndex == 0 || client.UnknownIndex == 0 || server.ReplayedInits == 0 {
		t.Errorf("replay in the next session: client %+v, server %+v", client, server)
	}
	v.works("after replays in the next session")

	// A server with the same keys that knows nothing of before. Tokens are void, too, so
	// that all an INIT gets is a RETRY.
	log = v.tap.sent(nil)
	v.stopServer()
	v.tap.renewSockets()
	v.startServer()
	v.sleep(5 * time.Second)
	v.works("after the server's restart")
	before = v.look()
	for _, r := range log {
		if kindOf(r.data) != "INIT" {
			v.tap.replay(r)
		}
	}
	v.unchanged("replay after the server's restart", before)
	receive(t, v.sdev)
	receive(t, v.cdev)
	for _, r := range log {
		v.tap.replay(r)
		synctest.Wait()
	}
	after := v.look()
	if after.sdev != before.sdev || after.cdev != before.cdev {
		t.Error("replays after the server's restart were delivered")
	}
	if after.sent != before.sent {
		t.Errorf("%d datagrams were sent in answer to replays after the server's restart", after.sent-before.sent)
	}
	answers := v.tap.sent(func(r *recorded) bool { return !r.up })
	for _, r := range answers[len(answers)-(after.retries-before.retries):] {
		if kindOf(r.data) != "RETRY" {
			t.Errorf("the answer to a replayed INIT is a %s", kindOf(r.data))
		}
	}
	v.works("after INITs replayed to a restarted server")
	v.sleep(10 * time.Second)
	v.works("when their sessions have expired")
	if n := len(v.server.Stats().Sessions); n != 1 {
		t.Errorf("the server has %d sessions", n)
	}
}

func TestReplayedInit(t *testing.T) { synctest.Test(t, testReplayedInit) }

// An INIT that the client gave up, replayed once the session works, even with a token
// of its own, is answered at most, and the session goes on.
func testReplayedInit(t *testing.T) {
	hold := func(up bool, data []byte) bool { return true }
	v := newVictim(t, victimConfig{lines: 1, hold: hold})
	defer v.close()
	v.sleep(25 * time.Second) // two or three attempts
	old := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "INIT" })
	v.tap.filter(nil)
	v.sleep(25 * time.Second)
	v.works("before")
	v.log.take()
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	sent := v.tap.count()
	for _, r := range old {
		v.tap.toServer(0, foreign, v.proved(r.data, 0, foreign))
		synctest.Wait()
	}
	for _, r := range v.tap.sent(nil)[sent:] {
		if kindOf(r.data) != "RESP" && kindOf(r.data) != "RETRY" {
			t.Errorf("the answer to a replayed INIT is a %s", kindOf(r.data))
		}
	}
	v.works("right after")
	v.sleep(30 * time.Second)
	v.works("much later")
	if got := v.log.take(); len(got) != 0 {
		t.Errorf("replayed INITs caused events %q", got)
	}
	if st := v.server.Stats(); st.Sessions[0].Links[0].Remote != v.tap.link(0).addr {
		t.Errorf("replayed INITs moved the link to %v", st.Sessions[0].Links[0].Remote)
	}
}

func TestForwardedOnce(t *testing.T) { synctest.Test(t, testForwardedOnce) }

// A datagram that is stopped and delivered from another address is authentic, but does
// not move the link there: all that goes to that address is a question.
func testForwardedOnce(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.tap.filter(func(up bool, data []byte) bool { return up && kindOf(data) == "DATA" })
	v.inject(v.cdev, udp(true, 1, 1, 500))
	synctest.Wait()
	v.tap.filter(nil)
	caught := v.tap.sent(func(r *recorded) bool { return r.held })
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	v.tap.toServer(0, foreign, caught[0].data)
	v.sleep(time.Millisecond)
	receive(t, v.sdev)
	for range 10 {
		v.works("with an address that is not proved")
		if got := v.server.Stats().Sessions[0].Links[0].Remote; got != v.tap.link(0).addr {
			t.Fatalf("the link is at %v", got)
		}
		v.sleep(500 * time.Millisecond)
	}
	v.tap.mu.Lock()
	defer v.tap.mu.Unlock()
	if v.tap.strays == 0 || v.tap.strayBytes > 3*len(caught[0].data) {
		t.Errorf("%d datagrams, %d bytes were sent to the other address, for %d", v.tap.strays, v.tap.strayBytes, len(caught[0].data))
	}
}

func TestWrongSecrets(t *testing.T) {
	otherPassword, err := crypto.PasswordKey("another password of the right length", "")
	if err != nil {
		t.Fatal(err)
	}
	password := func(c *Config, k crypto.PresharedKey) { c.Key, c.PasswordKey = crypto.PrivateKey{}, k }
	for _, x := range []struct {
		name   string
		client func(*ClientConfig)
		server func(*ServerConfig)
	}{
		{"server key", func(c *ClientConfig) { c.Server = crypto.GeneratePrivateKey().Public() }, nil},
		{"client key", func(c *ClientConfig) { c.Key = crypto.GeneratePrivateKey() }, nil},
		{"preshared key", func(c *ClientConfig) { c.Preshared = crypto.GeneratePresharedKey() }, nil},
		{"network", func(c *ClientConfig) { c.Network = "elsewhere" }, nil},
		{"password",
			func(c *ClientConfig) { password(&c.Config, otherPassword) },
			func(c *ServerConfig) { password(&c.Config, passwordKey()); c.Clients = nil }},
		{"password network",
			func(c *ClientConfig) { password(&c.Config, passwordKey()); c.Network = "elsewhere" },
			func(c *ServerConfig) { password(&c.Config, passwordKey()); c.Clients = nil }},
		{"mode",
			func(c *ClientConfig) { password(&c.Config, passwordKey()) }, nil},
		{"device", func(c *ClientConfig) { c.Ethernet = true }, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testWrongSecret(t, x.client, x.server) })
		})
	}
}

// A client and a server that do not agree never have a session, and each says so
// once, soon.
func testWrongSecret(t *testing.T, client func(*ClientConfig), server func(*ServerConfig)) {
	v := newVictim(t, victimConfig{lines: 2, client: client, server: server})
	defer v.close()
	v.sleep(8 * time.Second)
	for _, x := range []struct {
		who string
		log *logRecorder
	}{{"client", v.clog}, {"server", v.slog}} {
		if lines := x.log.take(); len(lines) != 1 {
			t.Errorf("within 8 s the %s logged %d lines, want one: %q", x.who, len(lines), lines)
		}
	}
	v.inject(v.cdev, udp(true, 1, 1, 500))
	v.inject(v.sdev, udp(false, 1, 1, 500))
	v.sleep(20 * time.Second)
	if c, s := receive(t, v.cdev), receive(t, v.sdev); len(c)+len(s) > 0 {
		t.Error("a packet passed")
	}
	if got := v.log.take(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
	if st := v.client.Stats(); st.Sessions != nil && st.Sessions[0].Up {
		t.Error("the client's session is up")
	}
	if n := len(v.clog.take()) + len(v.slog.take()); n > 0 {
		t.Errorf("%d more lines were logged in the following 20 s", n)
	}
}

func TestGarbageFlood(t *testing.T) { synctest.Test(t, testGarbageFlood) }

// A flood of garbage leaves the heap and the goroutines as they were.
func testGarbageFlood(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.works("before")
	rng := rand.New(rand.NewPCG(3, 4))
	known := v.tap.sent(func(r *recorded) bool { return r.up })
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	data := make([]byte, 1400)
	flood := func(n int) {
		for i := range n {
			for j := 0; j < len(data); j += 8 {
				binary.BigEndian.PutUint64(data[j:], rng.Uint64())
			}
			switch i % 4 {
			case 1:
				copy(data, []byte{0, 0, 0, 0, byte(1 + i/4%2), 1, 0, 0})
			case 2:
				copy(data, known[i%len(known)].data[:4])
			case 3:
				copy(data, known[i%len(known)].data)
			}
			foreign.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.Uint32())}), uint16(rng.Uint32()))
			v.tap.toServer(0, foreign, data[:rng.IntN(len(data)+1)])
			if i%100 == 99 {
				synctest.Wait()
			}
		}
	}
	sent := v.look().sent
	flood(10_000) // pools and maps reach their size
	before, goroutines := heap(), runtime.NumGoroutine()
	flood(times(100_000, 10_000_000))
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := runtime.NumGoroutine(); n != goroutines {
		t.Errorf("%d goroutines, before %d", n, goroutines)
	}
	if n := v.look().sent; n != sent { // some of it may be an INIT that was seen before, for a RETRY
		t.Errorf("%d datagrams were sent in answer", n-sent)
	}
	v.works("after")
}

// heap returns the number of bytes in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestRelabelled(t *testing.T) { synctest.Test(t, testRelabelled) }

// MLVPN told data from control by a byte that nothing protected, so that a keyless
// attacker could turn what he had recorded into a disconnect. Here, a ciphertext under
// the header of another datagram, or of another link, is void.
func testRelabelled(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer v.close()
	v.sleep(time.Second)
	caught := v.capture()
	log := v.tap.sent(nil)
	before := v.look()
	n := uint64(0)
	for _, c := range caught {
		for i := range log {
			h := &log[i]
			if kindOf(h.data) == "INIT" || kindOf(h.data) == "RESP" || bytes.Equal(h.data, c.data) {
				continue
			}
			for _, keep := range []int{4, 8} {
				if bytes.Equal(h.data[:keep], c.data[:keep]) {
					continue // that would be the real one
				}
				v.tap.replay(recorded{line: c.line, up: c.up, data: slices.Concat(h.data[:keep], c.data[keep:])})
				n++
			}
		}
	}
	client, server := v.unchanged("relabelled datagrams", before)
	if total(client)+total(server) != n {
		t.Errorf("of %d datagrams were counted: client %+v, server %+v", n, client, server)
	}
	v.works("after")
}

func TestEchoServer(t *testing.T) { synctest.Test(t, testEchoServer) }

// MLVPN's client took a server that sent its own challenge back for authentic. Here,
// an echo is nothing, before and after the handshake.
func testEchoServer(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1, hold: func(up bool, data []byte) bool { return true }})
	defer v.close()
	for range 100 {
		start := v.tap.count()
		v.sleep(300 * time.Millisecond)
		for _, r := range v.tap.sent(nil)[start:] {
			v.tap.toClient(0, r.data)
			// An INIT relabelled as a RESP, too.
			fake := slices.Clone(r.data)
			if fake[4] == byte(wire.KindInit) {
				fake[4] = byte(wire.KindResponse)
				v.tap.toClient(0, fake)
				n := int(binary.BigEndian.Uint16(fake[16:]))
				v.tap.toClient(0, fake[:18+n])
			}
		}
	}
	if st := v.client.Stats(); len(st.Sessions) != 0 {
		t.Errorf("the client took an echo for a server: %+v", st.Sessions)
	}
	if got := v.log.take(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
	if d := v.client.Stats().Drops; d.Refused == 0 {
		t.Errorf("drops %+v", d)
	}
}

// A rogue is a client with a valid key that sends what it likes.
type rogue struct {
	t       *testing.T
	tap     *tap
	line    int
	addr    link.Addr
	seal    []*crypto.Sealer
	indices []uint32
	seed    uint64
}

// newRogue makes a session of its own with the server, at which any INIT of its kind
// is answered.
func newRogue(t *testing.T, v *victim, key crypto.PrivateKey, links int) *rogue {
	t.Helper()
	init, err := crypto.NewInitiator(crypto.HandshakeConfig{Key: key, Peer: v.sc.Key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	hello := wire.Params{AEADs: crypto.Supported(), Ethernet: v.sc.Ethernet}
	for i := range links {
		hello.Indices = append(hello.Indices, uint32(1000+i))
	}
	noise, err := init.Init(nil, hello.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	m := wire.Init{Attempt: 1, Noise: noise}
	macKey := crypto.MAC1Key(v.sc.Key.Public())
	r := &rogue{t: t, tap: v.tap, addr: link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}}
	data := v.proved(m.Append(nil, func(covered []byte) [16]byte { return crypto.MAC1(macKey, covered) }), 0, r.addr)
	start := v.tap.count()
	v.tap.toServer(0, r.addr, data)
	synctest.Wait()
	sent := v.tap.sent(nil)[start:]
	if len(sent) == 0 {
		t.Fatal("the server does not answer the rogue client")
	}
	resp, err := wire.ParseResponse(sent[0].data)
	if err != nil {
		t.Fatal(err)
	}
	payload, secrets, err := init.Finish(resp.Noise)
	if err != nil {
		t.Fatal(err)
	}
	p, err := wire.ParseParams(payload)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := crypto.Chosen(p.AEADs, crypto.Supported())
	if err != nil {
		t.Fatal(err)
	}
	r.indices, r.seed = p.Indices, secrets.SendFlowSeed()
	for i := range links {
		s, err := secrets.Sealer(aead, uint16(i), 0)
		if err != nil {
			t.Fatal(err)
		}
		r.seal = append(r.seal, s)
	}
	return r
}

// send seals a plaintext and delivers it to the server.
func (r *rogue) send(on int, plaintext []byte) {
	r.t.Helper()
	header := make([]byte, wire.HeaderSize, wire.HeaderSize+len(plaintext)+crypto.Overhead)
	wire.PutHeader(header, r.indices[on], uint32(r.seal[on].Counter()))
	data, err := r.seal[on].Seal(header, plaintext, header)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tap.toServer(r.line, r.addr, data)
}

// frame is a DATA frame with an inner packet.
func frame(flags wire.DataFlags, pkt []byte) []byte {
	return wire.AppendData(nil, &wire.Data{Flags: flags, Payload: pkt})
}

// newRogueWorld has a server that knows alice, who has 10.0.0.2, and mallory, who has
// 10.0.6.0/24 unless prefixes says otherwise. Alice is connected.
func newRogueWorld(t *testing.T, prefixes ...netip.Prefix) (*victim, *rogue) {
	mallory := crypto.GeneratePrivateKey()
	v := newVictim(t, victimConfig{lines: 2, server: func(c *ServerConfig) {
		c.Clients[0].Prefixes = []netip.Prefix{netip.PrefixFrom(clientHost, 32)}
		c.Clients = append(c.Clients, Peer{Name: "mallory", Key: mallory.Public(), Prefixes: prefixes})
	}})
	v.sleep(time.Second)
	v.works("before")
	return v, newRogue(t, v, mallory, 4)
}

// session returns the server's view of a client.
func (v *victim) session(peer string) SessionStats {
	for _, s := range v.server.Stats().Sessions {
		if s.Peer == peer {
			return s
		}
	}
	v.t.Errorf("the server has no session with %s", peer)
	return SessionStats{}
}

func TestSpoofing(t *testing.T) { synctest.Test(t, testSpoofing) }

// A client cannot send packets from inner addresses that are not its own.
func testSpoofing(t *testing.T) {
	v, r := newRogueWorld(t, netip.MustParsePrefix("10.0.6.0/24"), netip.MustParsePrefix("fd06::/64"))
	defer v.close()
	own4, own6 := netip.MustParseAddr("10.0.6.1"), netip.MustParseAddr("fd06::1")
	dst4, dst6 := serverHost, netip.MustParseAddr("fd00::1")
	packet := func(src, dst netip.Addr) []byte {
		if src.Is4() {
			return tuntest.UDP4(netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 2), make([]byte, 20))
		}
		return tuntest.UDP6(netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 2), make([]byte, 20))
	}
	r.send(0, frame(0, packet(own4, dst4)))
	r.send(0, frame(wire.FlagRepair, packet(own6, dst6)))
	synctest.Wait()
	before := v.sdev.Stats().Written
	if before < 2 {
		t.Fatalf("the client's own packets did not pass")
	}
	var spoofed uint64
	for _, s := range []string{"10.0.0.2", "10.0.0.1", "10.0.7.1", "0.0.0.0", "255.255.255.255", "127.0.0.1",
		"fd06:0:0:1::1", "::1", "::", "fe80::1"} {
		src := netip.MustParseAddr(s)
		dst := dst4
		if src.Is6() {
			dst = dst6
		}
		for _, flags := range []wire.DataFlags{0, wire.FlagOrdered, wire.FlagRepair, wire.FlagLength} {
			r.send(int(spoofed)%4, frame(flags, packet(src, dst)))
			spoofed++
		}
	}
	// IPv4 addresses in IPv6 are nobody's but their owner's.
	mapped := packet(own6, dst6)
	copy(mapped[8:24], netip.MustParseAddr("::ffff:10.0.0.2").AsSlice())
	r.send(0, frame(0, mapped))
	spoofed++
	synctest.Wait()
	if got := v.sdev.Stats().Written; got != before {
		t.Errorf("%d packets with a false source were delivered", got-before)
	}
	if got := v.session("mallory").Spoofed; got != spoofed {
		t.Errorf("%d packets counted as spoofed, want %d", got, spoofed)
	}
	drain(v.sdev)
	v.works("after") // nothing for alice goes to mallory
}

func TestMalformedInside(t *testing.T) { synctest.Test(t, testMalformedInside) }

// Malformed frames and packets inside authentic datagrams are dropped and counted,
// and harm nobody else.
func testMalformedInside(t *testing.T) {
	own := netip.AddrPortFrom(netip.MustParseAddr("10.0.6.1"), 5)
	good := tuntest.UDP4(own, netip.AddrPortFrom(serverHost, 2), make([]byte, 20))
	v, r := newRogueWorld(t, netip.MustParsePrefix("10.0.6.0/24"))
	defer v.close()
	r.send(0, frame(0, good))
	synctest.Wait()
	written, drops := v.sdev.Stats().Written, v.server.Stats().Drops
	malformed := [][]byte{
		{0x01}, {0x01, 0}, {0x01, 0, 8}, {0x01, 0, 7, 1, 2, 3, 4, 5, 6, 7}, // PING
		{0x01, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		{0x02, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8},                 // PONG
		{0x03, 0, 4, 0, 0, 0, 0}, {0x03, 0, 0}, {0x03, 0xff}, // CLOSE
		{0x04, 0, 0}, {0x04, 0, 5, 0, 0, 0, 0, 0}, // PATH
		{0x05, 0xff, 0xff, 1}, {0x7f, 0, 1}, // unknown types that are cut
		{0x00, 1}, {0x00, 0, 0, 0, 7}, // PAD
		{0x80}, {0x80, 0, 0, 0, 0, 0, 0}, // DATA that is cut
		{0x0a, 0, 4, 0, 0, 0, 0}, {0x0a, 0, 5, 2, 0, 0, 0, 0}, // HOLD
		{0xc0, 0, 0, 0, 0, 0, 0, 0}, {0xc0, 0, 0, 0, 0, 0, 0, 0, 0xff}, // length that is cut
		{0xc0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x45},
	}
	for _, m := range malformed {
		r.send(1, m)
		synctest.Wait()
	}
	if d := minus(v.server.Stats().Drops, drops); d.Malformed != uint64(len(malformed)) || total(d) != d.Malformed {
		t.Errorf("drops %+v, want %d malformed", d, len(malformed))
	}
	notIP := v.session("mallory").NotIP
	bad := [][]byte{
		{}, {0x45}, good[:19], good[:27], slices.Concat([]byte{0x55}, good[1:]), slices.Concat([]byte{0x44}, good[1:]),
		make([]byte, 1400), bytes.Repeat([]byte{0xff}, 1400), slices.Concat([]byte{0x60}, good[1:]),
	}
	for _, b := range bad {
		r.send(2, frame(0, b))
		r.send(2, frame(wire.FlagOrdered, b))
	}
	synctest.Wait()
	if got := v.session("mallory").NotIP - notIP; got < 2*uint64(len(bad))-4 {
		t.Errorf("%d packets counted as no IP packets, of %d", got, 2*len(bad))
	}
	// Only the two cut ones that still have a complete IP header may pass.
	if got := v.sdev.Stats().Written - written; got > 4 {
		t.Errorf("%d malformed packets were delivered", got)
	}
	v.works("after")
}

func TestMalformedKeepsBefore(t *testing.T) { synctest.Test(t, testMalformedKeepsBefore) }

// SPEC.md, section 4.2: the frames before a malformed one are kept.
func testMalformedKeepsBefore(t *testing.T) {
	own := netip.AddrPortFrom(netip.MustParseAddr("10.0.6.1"), 5)
	good := tuntest.UDP4(own, netip.AddrPortFrom(serverHost, 2), make([]byte, 20))
	v, r := newRogueWorld(t, netip.MustParsePrefix("10.0.6.0/24"))
	defer v.close()
	r.send(0, frame(0, good))
	synctest.Wait()
	before := v.sdev.Stats().Written
	next := wire.AppendData(nil, &wire.Data{Flags: wire.FlagLength, Stamp: 1, Payload: good})
	r.send(0, append(next, 0x01, 0, 3, 1, 2, 3))
	synctest.Wait()
	if got := v.sdev.Stats().Written - before; got != 1 {
		t.Errorf("%d packets before a malformed frame were delivered, want 1", got)
	}
}

func TestManyFrames(t *testing.T) { synctest.Test(t, testManyFrames) }

// Datagrams full of frames, with whatever stamps, orders, times and path infos, do
// not hang, grow or stop the server.
func testManyFrames(t *testing.T) {
	own := netip.MustParseAddr("10.0.6.1")
	v, r := newRogueWorld(t, netip.MustParsePrefix("10.0.6.0/24"))
	defer v.close()
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 2000 {
		var b []byte
		for len(b) < 1200 {
			switch rng.IntN(6) {
			case 0:
				b = wire.AppendPing(b, wire.Ping{Echo: rng.Uint64()})
			case 1:
				b = wire.AppendPong(b, wire.Pong{Echo: rng.Uint64(), Received: rng.Uint32(), Highest: rng.Uint32()})
			case 2:
				b = wire.AppendPathInfo(b, wire.PathInfo{Tier: uint8(rng.Uint32() & 0x7f), Weight: rng.Uint64() >> rng.IntN(64), Name: "x"})
			case 3:
				b = wire.AppendFrame(b, wire.Type(5+rng.IntN(100)), make([]byte, rng.IntN(20)))
			default:
				tcp := tuntest.TCP4(netip.AddrPortFrom(own, uint16(rng.IntN(8))), netip.AddrPortFrom(serverHost, 2), tuntest.TCP{Flags: tuntest.ACK}, make([]byte, rng.IntN(40)))
				b = wire.AppendData(b, &wire.Data{
					Flags: wire.FlagLength | wire.DataFlags(rng.Uint32()&0x3e),
					Stamp: rng.Uint32() & wire.MaxStamp, Order: uint16(rng.Uint32()), Time: uint16(rng.Uint32()), Payload: tcp,
				})
			}
		}
		r.send(rng.IntN(4), b)
		if i%10 == 0 {
			// The server has packets for mallory meanwhile.
			v.sdev.TryInject(tuntest.UDP4(netip.AddrPortFrom(serverHost, 2), netip.AddrPortFrom(own, 5), make([]byte, 500)))
			v.sleep(time.Millisecond)
		}
	}
	v.sleep(time.Second)
	for range 200 {
		if _, ok := v.sdev.TryReceive(make([]byte, 2048)); !ok {
			break
		}
	}
	drain(v.sdev)
	v.works("after")
	v.sleep(2 * time.Minute)
	drain(v.sdev)
	v.works("much later")
}

func drain(dev *tuntest.Device) {
	buf := make([]byte, 2048)
	for {
		if _, ok := dev.TryReceive(buf); !ok {
			return
		}
	}
}

func TestEmptyFrame(t *testing.T) { synctest.Test(t, testEmptyFrame) }

// SPEC.md, section 4.1: a payload of length 0 is dropped, of Ethernet too, and so is
// what is shorter than an Ethernet header.
func testEmptyFrame(t *testing.T) {
	mallory := crypto.GeneratePrivateKey()
	v := newVictim(t, victimConfig{lines: 1,
		client: func(c *ClientConfig) { c.Ethernet = true },
		server: func(c *ServerConfig) {
			c.Ethernet = true
			c.Clients = append(c.Clients, Peer{Name: "mallory", Key: mallory.Public()})
		}})
	defer v.close()
	v.sleep(time.Second)
	r := newRogue(t, v, mallory, 1)
	r.send(0, frame(0, tuntest.Ethernet([6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 6}, tuntest.EtherTypeARP, make([]byte, 46))))
	synctest.Wait()
	before := v.sdev.Stats().Written
	if before == 0 {
		t.Fatal("a frame did not pass")
	}
	for n := range 14 {
		r.send(0, frame(0, make([]byte, n)))
		synctest.Wait()
	}
	if got := v.sdev.Stats().Written - before; got != 0 {
		t.Errorf("%d frames without an Ethernet header were delivered", got)
	}
	if got := v.server.Stats().Drops.DeviceErrors; got != 0 {
		t.Errorf("the device was given an empty frame, which may cost others in the same batch: %d errors", got)
	}
}

func TestLearnedHostMovesBack(t *testing.T) { synctest.Test(t, testLearnedHostMovesBack) }

// A host that was seen behind another client for a while is found again where it
// sends from now: a station that has moved back, or one whose address somebody else
// has claimed.
func testLearnedHostMovesBack(t *testing.T) {
	mallory := crypto.GeneratePrivateKey()
	v := newVictim(t, victimConfig{lines: 1, server: func(c *ServerConfig) {
		c.Clients = append(c.Clients, Peer{Name: "mallory", Key: mallory.Public()})
	}})
	defer v.close()
	v.sleep(time.Second)
	r := newRogue(t, v, mallory, 1)
	r.send(0, wire.AppendPing(nil, wire.Ping{Echo: 1}))
	v.works("before")
	r.send(0, frame(0, udp(true, 1, 1, 100)))
	synctest.Wait()
	drain(v.sdev)
	v.inject(v.cdev, udp(true, 1, 2, 100)) // alice sends again
	v.sleep(10 * time.Millisecond)
	drain(v.sdev)
	drain(v.cdev)
	v.inject(v.sdev, udp(false, 1, 3, 100))
	v.sleep(10 * time.Millisecond)
	if got := receive(t, v.cdev); !slices.Equal(got, []uint64{3}) {
		t.Errorf("alice got %v: what is for her goes to a client that once used her address", got)
	}
}

func TestPrefixBeatsLearnedHost(t *testing.T) { synctest.Test(t, testPrefixBeatsLearnedHost) }

// A client without a list of prefixes cannot take the packets for addresses that are
// configured to be another's.
func testPrefixBeatsLearnedHost(t *testing.T) {
	v, r := newRogueWorld(t) // mallory may use any address
	defer v.close()
	r.send(0, wire.AppendPing(nil, wire.Ping{Echo: 1}))
	r.send(0, frame(0, udp(true, 1, 1, 100)))
	synctest.Wait()
	drain(v.sdev)
	v.inject(v.sdev, udp(false, 1, 3, 100))
	v.sleep(10 * time.Millisecond)
	if got := receive(t, v.cdev); !slices.Equal(got, []uint64{3}) {
		t.Errorf("alice got %v: what is for her prefix goes to a client that has sent from her address", got)
	}
}

func TestHandshakeFlood(t *testing.T) { synctest.Test(t, testHandshakeFlood) }

// Handshake datagrams that arrive faster than they are dealt with do not pile up: the
// sender holds no more than maxHandshakes of them.
func testHandshakeFlood(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	// The sender is busy.
	busy, idle := make(chan struct{}), make(chan struct{})
	go v.server.e.call(func(time.Time) {
		close(busy)
		<-idle
	})
	<-busy
	macKey := crypto.MAC1Key(v.sc.Key.Public())
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range 10 * maxHandshakes {
		noise := make([]byte, 200)
		for j := range noise {
			noise[j] = byte(rng.Uint32())
		}
		m := wire.Init{Attempt: uint64(i), Noise: noise}
		from := v.tap.link(0).addr
		from.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1)
		data := m.Append(nil, func(covered []byte) [16]byte { return crypto.MAC1(macKey, covered) })
		v.tap.toServer(0, from, data) // which gets a RETRY
		parsed, covered, _ := wire.ParseInit(data)
		if err := v.server.e.callReceiver(func() {
			r := &v.server.e.receiver
			for p := range v.server.e.life.ports {
				parsed.Token = r.door.tokens.Issue(time.Now(), source(p, from), covered)
			}
		}); err != nil {
			t.Fatal(err)
		}
		wire.SetToken(data, parsed.Token)
		v.tap.toServer(0, from, data)
		synctest.Wait()
	}
	box := &v.server.e.sender.box
	box.mu.Lock()
	waiting, retries := 0, 0
	for i := range box.msgs {
		switch box.msgs[i].kind {
		case msgHandshake:
			waiting++
		case msgRetry:
			retries++
		}
	}
	box.mu.Unlock()
	close(idle)
	synctest.Wait()
	if waiting != maxHandshakes || retries != maxRetries {
		t.Errorf("%d handshakes and %d RETRYs wait for the sender, want %d and %d", waiting, retries, maxHandshakes, maxRetries)
	}
	if d := v.server.Stats().Drops; d.Flooded == 0 {
		t.Errorf("drops %+v: none was counted as flooded", d)
	}
	v.works("after")
}

func TestRemovedPathStaysRemoved(t *testing.T) { synctest.Test(t, testRemovedPathStaysRemoved) }

// A datagram of a removed link that is delivered on another one does not bring the
// path back.
func testRemovedPathStaysRemoved(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 2})
	defer v.close()
	v.sleep(time.Second)
	v.tap.filter(func(up bool, data []byte) bool { return !up && kindOf(data) == "PING" })
	v.sleep(500 * time.Millisecond)
	caught := v.tap.sent(func(r *recorded) bool { return r.held && r.line == 1 })
	v.tap.filter(nil)
	if len(caught) == 0 {
		t.Fatal("captured no PING of the server on the second link")
	}
	v.tap.filter(func(up bool, data []byte) bool { return up && kindOf(data) == "PING+INFO" })
	if err := v.client.RemoveLink(v.ids[1]); err != nil {
		t.Fatal(err)
	}
	v.tap.toClient(0, caught[len(caught)-1].data)
	v.sleep(time.Second)
	if links := v.client.Stats().Sessions[0].Links; len(links) != 1 {
		t.Errorf("the client has %d paths after one of two links was removed: %+v", len(links), links)
	}
}

func TestPendingSurvivesReplay(t *testing.T) { synctest.Test(t, testPendingSurvivesReplay) }

// An old INIT that is replayed while a handshake of the same client is under way does
// not make it fail.
func testPendingSurvivesReplay(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1, hold: func(up bool, data []byte) bool { return true }})
	defer v.close()
	v.sleep(15 * time.Second) // the second attempt is being made
	old := v.tap.sent(nil)[0]
	inits := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "INIT" && !bytes.Equal(r.data, old.data) })
	if len(inits) == 0 {
		t.Fatal("there was no second attempt")
	}
	v.tap.toServer(0, v.tap.link(0).addr, v.proved(inits[0].data, 0, v.tap.link(0).addr))
	synctest.Wait()
	resps := v.tap.sent(func(r *recorded) bool { return kindOf(r.data) == "RESP" })
	v.tap.toServer(0, v.tap.link(0).addr, v.proved(old.data, 0, v.tap.link(0).addr))
	synctest.Wait()
	v.tap.filter(nil)
	v.tap.replay(resps[0])
	v.sleep(time.Second)
	if st := v.client.Stats(); len(st.Sessions) == 0 || !st.Sessions[0].Up {
		t.Errorf("a replayed INIT made the handshake fail: %+v", st)
	}
	if n := v.computed(); n != 2 {
		t.Errorf("it took %d handshakes, want the genuine one and the replayed one", n)
	}
}

func TestHandshakesAreForgotten(t *testing.T) { synctest.Test(t, testHandshakesAreForgotten) }

// What a server remembers of a handshake to tell replays is small: neither the paths
// nor the buffers of sessions that have ended.
func testHandshakesAreForgotten(t *testing.T) {
	mallory := crypto.GeneratePrivateKey()
	v := newVictim(t, victimConfig{lines: 1, server: func(c *ServerConfig) {
		c.Clients = append(c.Clients, Peer{Name: "mallory", Key: mallory.Public()})
		c.Handshakes.SourceBurst = 1000
	}})
	defer v.close()
	v.sleep(time.Second)
	again := func(n int) {
		for range n {
			newRogue(t, v, mallory, wire.MaxLinks)
			v.tap.mu.Lock()
			v.tap.log = nil
			v.tap.mu.Unlock()
		}
	}
	again(20)
	before := heap()
	const n = 200
	again(n)
	v.sleep(10 * time.Second)
	if grown := (int64(heap()) - int64(before)) / n; grown > 4096 {
		t.Errorf("the server keeps %d bytes of each handshake", grown)
	}
}

func slogger(l *logRecorder) *slog.Logger { return slog.New(l) }

func TestLateDatagramMovesNothing(t *testing.T) { synctest.Test(t, testLateDatagramMovesNothing) }

// An authentic datagram that somebody has delayed comes too late: its packet has been sent
// again. Only the newest one can move a link.
func testLateDatagramMovesNothing(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer v.close()
	v.sleep(time.Second)
	v.tap.filter(func(up bool, data []byte) bool { return up && kindOf(data) == "DATA" })
	v.inject(v.cdev, udp(true, 1, 1, 250))
	synctest.Wait()
	v.tap.filter(nil)
	caught := v.tap.sent(func(r *recorded) bool { return r.held })
	v.inject(v.cdev, udp(true, 1, 2, 250))
	v.sleep(time.Second)
	if got := receive(t, v.sdev); !slices.Equal(got, []uint64{2, 1}) {
		t.Errorf("received %v, want the next packet and the one that it showed to be missing", got)
	}
	foreign := link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
	v.tap.toServer(0, foreign, caught[0].data)
	synctest.Wait()
	if got := receive(t, v.sdev); len(got) != 0 {
		t.Errorf("delivered twice: %v", got)
	}
	if got := v.server.Stats().Sessions[0].Links[0].Remote; got != v.tap.link(0).addr {
		t.Errorf("a late datagram moved the link to %v", got)
	}
}

func TestLateClose(t *testing.T) { synctest.Test(t, testLateClose) }

// The CLOSE of a session that has been replaced, delayed by an attacker, does not end
// the one that took its place.
func testLateClose(t *testing.T) {
	v := newVictim(t, victimConfig{lines: 1})
	defer func() { v.close() }()
	v.sleep(time.Second)
	v.tap.filter(func(up bool, data []byte) bool { return up && kindOf(data) == "CLOSE" })
	v.stopClient()
	v.tap.filter(nil)
	caught := v.tap.sent(func(r *recorded) bool { return r.held })
	v.tap.renewLinks()
	v.startClient()
	v.sleep(500 * time.Millisecond)
	v.works("before")
	before := v.look()
	for _, r := range caught {
		v.tap.replay(r)
	}
	v.unchanged("a late CLOSE", before)
	v.works("after")
}
