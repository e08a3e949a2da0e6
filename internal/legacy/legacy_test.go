package legacy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/legacy/legacytest"
	"github.com/multilink-vpn/multilink/internal/path"
)

// TestGolden opens each packet of the C daemon, and seals it again, byte for byte.
func TestGolden(t *testing.T) {
	packets, err := legacytest.Packets()
	if err != nil {
		t.Fatal(err)
	}
	if len(packets) != 117 {
		t.Errorf("%d packets, want 117", len(packets))
	}
	for i, g := range packets {
		c := Codec{Key: PasswordKey(g.Password), ClearData: g.ClearData == 1}
		if got := hex.EncodeToString(c.Key[:]); got != g.Key {
			t.Errorf("packet %d: key %s, want %s", i, got, g.Key)
		}
		datagram, _ := hex.DecodeString(g.Datagram)
		h, body, err := c.Open(nil, datagram)
		if err != nil {
			t.Errorf("packet %d: %v", i, err)
			continue
		}
		typ := Type(g.Type)
		want := Header{g.Version, typ, g.Reorder == 1, g.Timestamp, g.TimestampReply, g.FlowID, g.Seq, g.DataSeq}
		if h != want || typ.String() != g.TypeName {
			t.Errorf("packet %d: header %+v, want %+v (%s)", i, h, want, g.TypeName)
		}
		if got := hex.EncodeToString(body); got != g.Plaintext {
			t.Errorf("packet %d: body %s, want %s", i, got, g.Plaintext)
		}
		if typ != Data && !bytes.Equal(body, typ.payload()) {
			t.Errorf("packet %d: %s says %q, and we %q", i, typ, body, typ.payload())
		}
		if h2, body2, err := c.Open(nil, append(datagram[:len(datagram):len(datagram)], "tail"...)); err != nil || h2 != h || !bytes.Equal(body2, body) {
			t.Errorf("packet %d with more behind it: %+v, %x, %v", i, h2, body2, err)
		}
		if _, _, err := c.Open(nil, datagram[:len(datagram)-1]); !errors.Is(err, ErrMalformed) {
			t.Errorf("packet %d cut short: error %v", i, err)
		}
		if again := c.Seal(nil, &h, body); !bytes.Equal(again, datagram) {
			t.Errorf("packet %d: sealed %x, want %x", i, again, datagram)
		}
	}
}

// An end is one end of a link, as a session puts it together.
type end struct {
	in   Incoming
	link *Link
}

// TestCaptures replays whole sessions to each end: everything opens and is believed, and
// links come up and go down when they did. The end that quit first heard nothing more.
func TestCaptures(t *testing.T) {
	for _, s := range legacytest.Sessions() {
		all, err := s.Capture()
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{"client", "server"} {
			t.Run(s.Name+" "+role, func(t *testing.T) {
				want := []string{"1 up", "2 up"}
				switch {
				case s.Name == "tun-crypt-badpw":
					want = nil
				case s.Name == "tun-crypt-blackhole" && role == "client":
					want = append(want, "2 down", "2 up")
				case s.Quits != role:
					want = append(want, "1 down", "2 down")
				}
				got := replay(t, &s, all, role == "client")
				// The order of the two links at the beginning and at the end is chance.
				slices.Sort(got[:min(2, len(got))])
				if len(got) == 4 && (s.Name != "tun-crypt-blackhole" || role == "server") {
					slices.Sort(got[2:])
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
			})
		}
	}
}

// replay returns what became of the links at one end.
func replay(t *testing.T, s *legacytest.Session, all []legacytest.Datagram, client bool) (changes []string) {
	codec := Codec{Key: PasswordKey(s.Password), ClearData: s.ClearData}
	own := make(map[uint32]bool)
	ends := make(map[int]*end)
	for i := 1; i <= 2; i++ {
		ends[i] = &end{Incoming{Own: func(id uint32) bool { return own[id] }}, NewLink(all[0].At, client, s.Timeout)}
	}
	note := func(i int, was bool) {
		if is := ends[i].link.Up(); is != was {
			changes = append(changes, fmt.Sprintf("%d %s", i, map[bool]string{true: "up", false: "down"}[is]))
		}
	}
	var scratch []byte
	for _, d := range all {
		for i := 1; i <= 2; i++ {
			was := ends[i].link.Up()
			for ends[i].link.Next(0).Before(d.At) {
				at := ends[i].link.Next(0)
				if ends[i].link.Advance(at, 0) {
					ends[i].link.Probed(at)
				}
				note(i, was)
				was = ends[i].link.Up()
			}
		}
		h, body, err := codec.Open(scratch[:0], d.Payload)
		if s.Name == "tun-crypt-badpw" {
			if !errors.Is(err, ErrUnauthentic) {
				t.Fatalf("a packet of another password: error %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		scratch = body
		e := ends[d.Link]
		if d.FromClient == client {
			own[h.FlowID] = true
			if _, err := e.in.Accept(d.At, &h); !errors.Is(err, ErrReflected) {
				t.Fatalf("a packet of our own: error %v", err)
			}
			continue
		}
		if s.ClearData && h.Type == Data {
			if err := e.in.AcceptClear(&h); err != nil {
				t.Fatalf("%+v: %v", h, err)
			}
		} else {
			if _, err := e.in.Accept(d.At, &h); err != nil {
				t.Fatalf("%+v: %v", h, err)
			}
			if _, err := e.in.Accept(d.At, &h); !errors.Is(err, ErrReplay) {
				t.Fatalf("%+v a second time: error %v", h, err)
			}
		}
		was := e.link.Up()
		e.link.Received(d.At, h.Type)
		note(d.Link, was)
	}
	return changes
}

var start = time.Unix(1_700_000_000, 0)

// TestLink checks what each end of a link says to what, and when.
func TestLink(t *testing.T) {
	after := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	probe := func(l *Link, at time.Time) string {
		if !l.Advance(at, 0) {
			return ""
		}
		p, ok := l.Probe(at)
		l.Probed(at)
		if !ok {
			return "nothing"
		}
		return p.String()
	}
	reply := func(l *Link, at time.Time, typ Type) string {
		if r, ok := l.Received(at, typ); ok {
			return r.String()
		}
		return ""
	}
	type step struct {
		at    float64
		recv  Type
		probe bool
		says  string
		state path.State
	}
	const none = numTypes
	for name, c := range map[string]struct {
		client bool
		steps  []step
	}{
		"client": {true, []step{
			{0, none, true, "AUTH", path.Probing},
			{0.5, none, true, "", path.Probing},
			{0.6, Data, false, "", path.Probing},
			{0.6, KeepAlive, false, "", path.Probing},
			{0.7, Auth, false, "", path.Probing},
			{1, none, true, "AUTH", path.Probing},
			{1.1, AuthOK, false, "", path.Up},
			{2, none, true, "KEEPALIVE", path.Up},
			{2.1, KeepAlive, false, "KEEPALIVE", path.Up},
			{2.2, KeepAlive, false, "", path.Up},
			{3, none, true, "", path.Up},
			{3.2, none, true, "KEEPALIVE", path.Up},
			{3.3, KeepAlive, false, "KEEPALIVE", path.Up},
			{6.7, none, true, "KEEPALIVE", path.Up},
			{6.8, none, true, "", path.Suspect},
			{7.8, none, true, "KEEPALIVE", path.Suspect},
			{8.8, none, true, "AUTH", path.Suspect},
			{9, KeepAlive, false, "KEEPALIVE", path.Up},
			{10, Disconnect, false, "", path.Down},
			{10.1, KeepAlive, false, "", path.Down},
			{11, none, true, "AUTH", path.Down},
			{11.5, AuthOK, false, "", path.Up},
			{21.5, none, true, "AUTH", path.Down},
		}},
		"server": {false, []step{
			{0, none, true, "nothing", path.Probing},
			{0.5, KeepAlive, false, "", path.Probing},
			{0.5, AuthOK, false, "", path.Probing},
			{0.6, Auth, false, "AUTH_OK", path.Up},
			{0.7, Auth, false, "AUTH_OK", path.Up},
			{1.7, none, true, "KEEPALIVE", path.Up},
			{9.7, none, true, "KEEPALIVE", path.Suspect},
			{10.7, none, true, "nothing", path.Down},
			{11, KeepAlive, false, "", path.Down},
			{12, Auth, false, "AUTH_OK", path.Up},
			{12.5, Disconnect, false, "", path.Down},
		}},
	} {
		l := NewLink(start, c.client, 10*time.Second)
		for _, s := range c.steps {
			var says string
			if s.probe {
				says = probe(l, after(s.at))
			} else {
				l.Advance(after(s.at), 0)
				says = reply(l, after(s.at), s.recv)
			}
			if says != s.says || l.State() != s.state {
				t.Errorf("%s at %g s: says %q and is %v, want %q and %v", name, s.at, says, l.State(), s.says, s.state)
			}
			if next := l.Next(0); s.probe && says != "" && !next.After(after(s.at)) {
				t.Errorf("%s at %g s: due again at %v", name, s.at, next)
			}
		}
	}
}

// TestIncoming checks whose packets are believed.
func TestIncoming(t *testing.T) {
	in := Incoming{Own: func(id uint32) bool { return id == 99 }}
	at := start
	step := func(what string, wait time.Duration, h Header, want error, arrival Arrival) {
		t.Helper()
		at = at.Add(wait)
		a, err := in.Accept(at, &h)
		if !errors.Is(err, want) || err == nil && a != arrival {
			t.Errorf("%s: %+v, error %v, want %+v, %v", what, a, err, arrival, want)
		}
	}
	newest, fresh := Arrival{Newest: true}, Arrival{Newest: true, New: true}
	step("our own", 0, Header{FlowID: 99, Type: Auth, Seq: 1}, ErrReflected, Arrival{})
	step("keepalive before auth", 0, Header{FlowID: 1, Type: KeepAlive, Seq: 1}, ErrOther, Arrival{})
	step("disconnect before auth", 0, Header{FlowID: 1, Type: Disconnect, Seq: 1}, ErrOther, Arrival{})
	step("auth", 0, Header{FlowID: 1, Type: Auth, Seq: 5}, nil, newest)
	step("auth again", 0, Header{FlowID: 1, Type: Auth, Seq: 5}, ErrReplay, Arrival{})
	step("before the first", 0, Header{FlowID: 1, Type: KeepAlive, Seq: 4}, ErrReplay, Arrival{})
	step("data", time.Second, Header{FlowID: 1, Type: Data, Seq: 8}, nil, newest)
	step("late data", 0, Header{FlowID: 1, Type: Data, Seq: 7}, nil, Arrival{})
	step("the same", 0, Header{FlowID: 1, Type: Data, Seq: 7}, ErrReplay, Arrival{})
	step("another's auth", 2*time.Second, Header{FlowID: 2, Type: Auth, Seq: 0}, ErrOther, Arrival{})
	step("alive", 0, Header{FlowID: 1, Type: KeepAlive, Seq: 9}, nil, newest)
	step("another's auth again", 2*time.Second, Header{FlowID: 2, Type: Auth, Seq: 1}, ErrOther, Arrival{})
	step("another's keepalive, when quiet", 2*time.Second, Header{FlowID: 2, Type: KeepAlive, Seq: 2}, ErrOther, Arrival{})
	step("another's auth, when quiet", 0, Header{FlowID: 2, Type: Auth, Seq: 3}, nil, fresh)
	step("the first's, meanwhile", 0, Header{FlowID: 1, Type: KeepAlive, Seq: 10}, ErrOther, Arrival{})
	step("the first's old auth, when quiet", 4*time.Second, Header{FlowID: 1, Type: Auth, Seq: 5}, ErrReplay, Arrival{})
	step("the first's, when quiet", 0, Header{FlowID: 1, Type: KeepAlive, Seq: 11}, nil, fresh)
	step("disconnect", 0, Header{FlowID: 1, Type: Disconnect, Seq: 12}, nil, newest)
	step("a third's auth at once", 0, Header{FlowID: 3, Type: Auth, Seq: 0}, nil, fresh)
	if count, highest := in.Received(); count != 1 || highest != 0 {
		t.Errorf("%d packets up to %d of the third", count, highest)
	}
	for id := range uint32(100) {
		step("many", 4*time.Second, Header{FlowID: 1000 + id, Type: Auth, Seq: 7}, nil, fresh)
	}
	if len(in.flows) > maxFlows {
		t.Errorf("%d flows remembered", len(in.flows))
	}
	if err := in.AcceptClear(&Header{FlowID: 1099, Type: Data}); err != nil {
		t.Error(err)
	}
	if err := in.AcceptClear(&Header{FlowID: 1098, Type: Data}); !errors.Is(err, ErrOther) {
		t.Errorf("clear data of a flow that is not in use: error %v", err)
	}
	if err := in.AcceptClear(&Header{FlowID: 99, Type: Data}); !errors.Is(err, ErrReflected) {
		t.Errorf("clear data of our own: error %v", err)
	}
}

// TestClock checks timestamps and what is made of them.
func TestClock(t *testing.T) {
	o := NewOutgoing(start, 7, new(DataSeq))
	h := o.Next(start, KeepAlive)
	if h.TimestampReply != NoTimestamp || h.FlowID != 7 || h.Seq != uint64(start.UnixNano()) || h.Version != 1 || !h.Reorder {
		t.Errorf("%+v", h)
	}
	if next := o.Next(start, Auth); next.Seq != h.Seq+1 {
		t.Errorf("number %d after %d", next.Seq, h.Seq)
	}
	o.Heard(start, 65500)
	if h := o.Next(start.Add(500*time.Millisecond), Data); h.TimestampReply != 65500+500-65536 {
		t.Errorf("reply %d", h.TimestampReply)
	}
	if h := o.Next(start.Add(600*time.Millisecond), Data); h.TimestampReply != NoTimestamp {
		t.Errorf("a timestamp is sent back twice: %d", h.TimestampReply)
	}
	o.Heard(start, 100)
	if h := o.Next(start.Add(time.Second), Data); h.TimestampReply != NoTimestamp {
		t.Errorf("an old timestamp is sent back: %d", h.TimestampReply)
	}
	o = NewOutgoing(start, 7, new(DataSeq))
	o.Heard(start, NoTimestamp)
	if h := o.Next(start, Data); h.TimestampReply != NoTimestamp {
		t.Errorf("no timestamp is sent back: %d", h.TimestampReply)
	}
	for ms := range int64(1 << 17) {
		if timestamp(time.UnixMilli(ms)) == NoTimestamp {
			t.Fatalf("%d ms: a timestamp that means none", ms)
		}
	}
	at := time.UnixMilli(65536*5 + 30)
	for _, c := range []struct {
		reply uint16
		rtt   time.Duration
		ok    bool
	}{{10, 20 * time.Millisecond, true}, {65530, 36 * time.Millisecond, true}, {30, 0, true}, {31, 0, false}, {NoTimestamp, 0, false}, {65536 + 30 - 5000, 0, false}} {
		h := Header{TimestampReply: c.reply}
		if rtt, ok := h.RTT(at); ok != c.ok || ok && rtt != c.rtt {
			t.Errorf("reply %d: %v %v, want %v %v", c.reply, rtt, ok, c.rtt, c.ok)
		}
	}
}

func TestDataSeq(t *testing.T) {
	var d DataSeq
	for n := uint64(0); n < 1<<25; n += 1 + n/1000 {
		if got := d.Expand(uint32(n)&0xffffff, 24); got != n {
			t.Fatalf("stamp of %d stands for %d", n, got)
		}
		if got := d.Expand(uint32(n)&0xffffff, 24); got != n {
			t.Fatalf("the copy of %d has %d", n, got)
		}
	}
}

func TestAllocs(t *testing.T) {
	c := Codec{Key: PasswordKey("x")}
	o := NewOutgoing(start, 7, new(DataSeq))
	body, datagram, clear := make([]byte, 1400), make([]byte, 0, 2048), make([]byte, 0, 2048)
	in := Incoming{}
	in.Accept(start, &Header{FlowID: 7, Type: Auth})
	stamp := uint32(0)
	if n := testing.AllocsPerRun(100, func() {
		datagram = o.Data(datagram[:0], start, &c, stamp, 24, body)
		stamp++
		h, _, err := c.Open(clear, datagram)
		if _, e := in.Accept(start, &h); err != nil || e != nil {
			t.Fatal(err, e)
		}
	}); n != 0 {
		t.Errorf("%g allocations per packet", n)
	}
}

// FuzzWindow compares the window with a map.
func FuzzWindow(f *testing.F) {
	f.Add(uint64(5), []byte{0, 1, 2, 200, 1, 255, 255, 3})
	f.Add(uint64(1<<63), []byte{4, 4, 130, 131, 0, 0, 64, 64, 250})
	f.Fuzz(func(t *testing.T, first uint64, moves []byte) {
		first >>= 2
		var w window
		w.begin(first)
		seen := map[uint64]bool{first: true}
		highest := first
		for _, m := range moves {
			n := highest
			switch {
			case m < 100:
				n += uint64(m)
			case m < 200:
				n -= min(uint64(m-100)*23, n)
			default:
				n += uint64(m-199) * 97
			}
			want := n > first && !seen[n] && (n > highest || highest-n < windowSize)
			if got := w.mark(n); got != want {
				t.Fatalf("number %d after %d: %v, want %v", n, highest, got, want)
			}
			seen[n] = true
			highest = max(highest, n)
		}
	})
}

// FuzzOpen checks that nothing that arrives makes the parser fail, and that what opens
// can be sealed again.
func FuzzOpen(f *testing.F) {
	packets, err := legacytest.Packets()
	if err != nil {
		f.Fatal(err)
	}
	for _, g := range packets {
		datagram, _ := hex.DecodeString(g.Datagram)
		f.Add(datagram, g.ClearData == 1)
	}
	key := PasswordKey("mlvpn-golden-1")
	f.Fuzz(func(t *testing.T, datagram []byte, clear bool) {
		c := Codec{key, clear}
		h, body, err := c.Open(nil, datagram)
		if err != nil {
			return
		}
		if len(body) > len(datagram)-HeaderSize || h.Type >= numTypes {
			t.Fatalf("%+v with a body of %d bytes out of %d", h, len(body), len(datagram))
		}
		again := c.Seal(nil, &h, body)
		h2, body2, err := c.Open(nil, again)
		if err != nil || h2 != h || !bytes.Equal(body, body2) {
			t.Fatalf("%+v became %+v, error %v", h, h2, err)
		}
	})
}
