package mlvpn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/internal/legacy"
	"github.com/multilink-vpn/multilink/internal/legacy/legacytest"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// A tape is a link or socket on which datagrams arrive when they did, and which records
// what is sent.
type tape struct {
	begin  time.Time // of the tape, in the test's time
	start  time.Time // of the tape, in the capture's time
	left   []legacytest.Datagram
	from   link.Addr
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards the following
	sent [][]byte
	to   []link.Addr
}

func (t *tape) MTU() int                  { return 1472 }
func (t *tape) LocalAddr() netip.AddrPort { return netip.AddrPort{} }

func (t *tape) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t *tape) Receive(bufs [][]byte, sizes []int) (int, error) {
	var until <-chan time.Time
	if len(t.left) > 0 {
		until = time.After(time.Until(t.begin.Add(t.left[0].At.Sub(t.start))))
	}
	select {
	case <-until:
		sizes[0] = copy(bufs[0], t.left[0].Payload)
		t.left = t.left[1:]
		return 1, nil
	case <-t.closed:
		return 0, net.ErrClosed
	}
}

func (t *tape) Send(pkts [][]byte) (int, error) { return t.SendTo(pkts, link.Addr{}) }

func (t *tape) ReceiveFrom(bufs [][]byte, sizes []int, from []link.Addr) (int, error) {
	from[0] = t.from
	return t.Receive(bufs, sizes)
}

func (t *tape) SendTo(pkts [][]byte, to link.Addr) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range pkts {
		t.sent, t.to = append(t.sent, slices.Clone(p)), append(t.to, to)
	}
	return len(pkts), nil
}

// TestLegacyReplay plays what each end of a session of C daemons received to an end of
// ours: it delivers the same inner packets, each once and in order, has the same links up
// and down, and answers what it must.
func TestLegacyReplay(t *testing.T) {
	for _, s := range legacytest.Sessions() {
		for _, role := range []string{"client", "server"} {
			t.Run(s.Name+" "+role, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testLegacyReplay(t, &s, role) })
			})
		}
	}
}

func testLegacyReplay(t *testing.T, s *legacytest.Session, role string) {
	all, err := s.Capture()
	if err != nil {
		t.Fatal(err)
	}
	codec := legacy.Codec{Key: legacy.PasswordKey(s.Password), ClearData: s.ClearData}
	dev := tuntest.New(tuntest.Config{Name: "tun0", MTU: 1500, Queue: 1 << 14})
	events := new(eventLog)
	end, err := NewLegacy(LegacyConfig{
		Config:   Config{Device: dev, Ethernet: s.Ethernet, OnEvent: events.add, Logger: slog.New(slog.DiscardHandler)},
		Password: s.Password, Server: role == "server", ClearData: s.ClearData, AcceptRisk: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	tapes := make([]*tape, 2)
	for i := range tapes {
		tapes[i] = &tape{begin: time.Now().Add(time.Second), start: all[0].At, closed: make(chan struct{})}
		tapes[i].from.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 91, byte(i + 1), 1}), 6080)
		for _, d := range all {
			if d.Link == i+1 && d.FromClient != (role == "client") {
				tapes[i].left = append(tapes[i].left, d)
			}
		}
		cfg := LinkConfig{Name: fmt.Sprint(i + 1), Timeout: s.Timeout}
		if role == "server" {
			err = end.AddSocket(tapes[i], cfg)
		} else {
			_, err = end.AddLink(tapes[i], cfg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := innerPackets(t, &codec, tapes)
	stop := start(t, end.Run)
	defer stop()
	time.Sleep(all[len(all)-1].At.Sub(all[0].At) + 2*time.Second)
	synctest.Wait()

	buf := make([]byte, 2000)
	for i, p := range want {
		n, ok := dev.TryReceive(buf)
		if !ok || !bytes.Equal(buf[:n], p) {
			t.Fatalf("inner packet %d of %d: delivered %v %x, want %x", i, len(want), ok, buf[:n], p)
		}
	}
	if n, ok := dev.TryReceive(buf); ok {
		t.Errorf("one more inner packet than there were: %x", buf[:n])
	}
	if s.Name != "tun-crypt-badpw" && len(want) < 30 {
		t.Errorf("only %d inner packets", len(want))
	}
	checkEvents(t, s, role, events.take())
	for i, x := range tapes {
		checkAnswers(t, s, role, &codec, i, x)
	}
}

// innerPackets returns what the datagrams on the tapes carry, in the sender's order.
func innerPackets(t *testing.T, codec *legacy.Codec, tapes []*tape) (bodies [][]byte) {
	t.Helper()
	inner := make(map[uint64][]byte)
	for _, x := range tapes {
		for _, d := range x.left {
			h, body, err := codec.Open(nil, d.Payload)
			switch {
			case errors.Is(err, legacy.ErrUnauthentic):
			case err != nil:
				t.Fatal(err)
			case h.Type == legacy.Data:
				inner[h.DataSeq] = body
			}
		}
	}
	for n := uint64(0); len(bodies) < len(inner); n++ {
		if body, ok := inner[n]; ok {
			bodies = append(bodies, body)
		}
	}
	return bodies
}

// checkEvents checks what became of the links. Degraded is what our end alone calls
// overdue.
func checkEvents(t *testing.T, s *legacytest.Session, role string, got []string) {
	t.Helper()
	got = slices.DeleteFunc(got, func(e string) bool { return e == "link degraded 1" || e == "link degraded 2" })
	if len(got) > 3 {
		slices.Sort(got[3:])
	}
	want := []string{"link up 1", "link up 2", "session up"}
	switch {
	case s.Name == "tun-crypt-badpw":
		want = nil
	case s.Name == "tun-crypt-blackhole" && role == "client":
		want = append(want, "link down 2", "link up 2")
	case s.Quits != role:
		want = append(want, "link down 1", "link down 2", "session down")
	}
	slices.Sort(got[:min(3, len(got))])
	if s.Name == "tun-crypt-blackhole" && role == "client" && len(got) > 5 {
		got = got[:5]
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// checkAnswers checks what our end has said on a link: as often as it should, by numbers
// that go up, to the peer alone.
func checkAnswers(t *testing.T, s *legacytest.Session, role string, codec *legacy.Codec, i int, x *tape) {
	t.Helper()
	count := make(map[legacy.Type]int)
	var seq uint64
	for j, datagram := range x.sent {
		h, _, err := codec.Open(nil, datagram)
		if err != nil || j > 0 && h.Seq != seq+1 {
			t.Fatalf("link %d: we sent %+v after %d, error %v", i+1, h, seq, err)
		}
		seq = h.Seq
		count[h.Type]++
		if role == "server" && x.to[j].Remote != x.from.Remote {
			t.Errorf("link %d: sent to %v", i+1, x.to[j])
		}
	}
	auth, ok := count[legacy.Auth] > 0, count[legacy.AuthOK] > 0
	switch {
	case s.Name == "tun-crypt-badpw" && role == "server":
		if len(x.sent) > 0 {
			t.Errorf("link %d: %d answers to another password", i+1, len(x.sent))
		}
	case auth != (role == "client") || ok != (role == "server"):
		t.Errorf("link %d: %d AUTH, %d AUTH_OK by a %s", i+1, count[legacy.Auth], count[legacy.AuthOK], role)
	case s.Name != "tun-crypt-badpw" && count[legacy.KeepAlive] < 5:
		t.Errorf("link %d: %d KEEPALIVE", i+1, count[legacy.KeepAlive])
	}
}

// FuzzLegacy checks that no datagram does more to an end than to be counted: it is
// processed, and what was going on goes on.
func FuzzLegacy(f *testing.F) {
	packets, err := legacytest.Packets()
	if err != nil {
		f.Fatal(err)
	}
	for i, p := range packets {
		if i%9 == 0 {
			f.Add([]byte(p.Datagram), i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, datagram []byte, clear bool) {
		dev := tuntest.New(tuntest.Config{Name: "tun0", MTU: 1500, Queue: 16})
		end, err := NewLegacy(LegacyConfig{Config: Config{Device: dev}, Password: "x", Server: true, ClearData: clear, AcceptRisk: true})
		if err != nil {
			t.Fatal(err)
		}
		x := &tape{closed: make(chan struct{})}
		if err := end.AddSocket(x, LinkConfig{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		r := &end.e.receiver
		for _, call := range r.box.take(nil) {
			call(time.Now())
		}
		b := end.e.newPortBatch(end.links[0], nil)
		b.port, b.n = end.links[0], 1
		b.sizes[0] = copy(b.bufs[0], datagram)
		r.process(time.Now(), b)
		r.deliver()
		if n, ok := dev.TryReceive(make([]byte, 2000)); ok {
			t.Errorf("%d bytes delivered of what nobody has sent", n)
		}
		if len(r.tell) != 0 {
			t.Errorf("%+v", r.tell)
		}
		if r.count.malformed+r.count.unauthentic+r.count.replayed == 0 {
			t.Error("not counted")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		end.Run(ctx)
	})
}
