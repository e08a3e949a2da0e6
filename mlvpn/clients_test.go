package mlvpn

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

func prefixes(text ...string) (out []netip.Prefix) {
	for _, s := range text {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// idleServer is a server in keys mode that does not run.
func idleServer(t *testing.T, clients ...Peer) *Server {
	t.Helper()
	v, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()}, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// settle runs what waits for the receiver of a server that does not run.
func settle(v *Server) {
	for _, call := range v.e.receiver.box.take(nil) {
		call(time.Time{})
	}
}

func peer(name string, text ...string) Peer {
	return Peer{Name: name, Key: crypto.PublicKey{1: name[0], 2: name[len(name)-1], 3: 1}, Prefixes: prefixes(text...)}
}

func TestClientConflicts(t *testing.T) {
	a := peer("alice", "10.0.1.0/24", "fd00:1::/64")
	for name, test := range map[string]struct {
		p    Peer
		want []string // in the error; none: it is let in
	}{
		"same name":         {Peer{Name: "alice", Key: crypto.PublicKey{9}}, []string{"alice", "another name"}},
		"same key":          {Peer{Name: "bob", Key: a.Key}, []string{"alice", "bob", "key"}},
		"same prefix":       {peer("bob", "10.0.1.7/24"), []string{"alice", "bob", "10.0.1.0/24"}},
		"same address":      {Peer{Name: "bob", Key: crypto.PublicKey{9}, Addresses: prefixes("10.0.1.1/24"), Prefixes: prefixes("fd00:1::/64")}, []string{"fd00:1::/64"}},
		"longer prefix":     {peer("bob", "10.0.1.128/25"), nil},
		"shorter prefix":    {peer("bob", "10.0.0.0/8"), nil},
		"no name":           {Peer{Key: crypto.PublicKey{9}}, []string{"Peer.Name"}},
		"long name":         {Peer{Name: strings.Repeat("x", 65), Key: crypto.PublicKey{9}}, []string{"64 bytes"}},
		"control character": {Peer{Name: "a\nb", Key: crypto.PublicKey{9}}, []string{"control"}},
		"no key":            {Peer{Name: "bob"}, []string{"bob", "Peer.Key"}},
		"no prefix":         {Peer{Name: "bob", Key: crypto.PublicKey{9}, Prefixes: []netip.Prefix{{}}}, []string{"bob", "no prefix"}},
		"mapped":            {peer("bob", "::ffff:10.0.0.0/104"), []string{"bob", "no prefix"}},
	} {
		t.Run(name, func(t *testing.T) {
			single := idleServer(t, a)
			for what, err := range map[string]error{
				"AddClient": single.AddClient(test.p),
				"SetClients": func() error {
					_, err := idleServer(t).SetClients([]Peer{a, test.p})
					return err
				}(),
			} {
				if (err == nil) != (test.want == nil) {
					t.Errorf("%s: %v", what, err)
				}
				for _, want := range test.want {
					if err != nil && !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v, want it to mention %q", what, err, want)
					}
				}
			}
			if test.want != nil && len(single.Clients()) != 1 {
				t.Error("what was refused is in the list")
			}
		})
	}
	v := idleServer(t, a)
	if v.ChangeClient(peer("bob")) == nil || v.RemoveClient(crypto.PublicKey{9}) == nil {
		t.Error("a client that is not there was changed or removed")
	}
}

func TestSetClients(t *testing.T) {
	a, b, c := peer("alice", "10.0.1.0/24"), peer("bob", "10.0.2.0/24"), peer("carol")
	v := idleServer(t, a, b)
	t.Log("# nothing of a list with a mistake is applied")
	if _, err := v.SetClients([]Peer{c, peer("dave", "10.0.1.0/24"), a}); err == nil {
		t.Error("a list in which two clients have a prefix was taken")
	}
	if got := v.Clients(); len(got) != 2 || !got[0].same(&a) || !got[1].same(&b) {
		t.Errorf("the clients are %v", got)
	}
	t.Log("# two clients swap their prefixes, one is new")
	a2, b2 := a, b
	a2.Prefixes, b2.Prefixes = b.Prefixes, a.Prefixes
	done, err := v.SetClients([]Peer{b2, a2, c})
	if err != nil || done.String() != "added carol; changed alice, bob" {
		t.Errorf("%v, %v", done, err)
	}
	if done, err := v.SetClients([]Peer{a2, c, b2}); err != nil || done.String() != "no client changed" {
		t.Errorf("%v, %v", done, err)
	}
	t.Log("# another secret, another name, and one is gone")
	a2.Preshared = crypto.PresharedKey{1}
	b2.Name = "robert"
	if done, err := v.SetClients([]Peer{a2, b2}); err != nil || done.String() != "removed carol; changed and logged out alice, robert" {
		t.Errorf("%v, %v", done, err)
	}
	if len(v.clients.byName) != 2 || len(v.clients.byKey) != 2 || v.clients.owners.Len() != 2 {
		t.Errorf("something is left: %v", v.clients)
	}
}

// TestOwners changes clients at random and compares who may use an address, and who gets
// packets for it, with a search through the list.
func TestOwners(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	addr := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.IntN(3)), byte(rng.IntN(4))})
	}
	v := idleServer(t)
	sessions := make(map[string]*Session)
	for range 400 {
		var list []Peer
		seen := make(map[netip.Prefix]bool)
		for i := range 6 {
			p := peer(fmt.Sprint(i))
			for range rng.IntN(4) {
				if x := netip.PrefixFrom(addr(), 8+rng.IntN(25)).Masked(); !seen[x] {
					seen[x] = true
					p.Prefixes = append(p.Prefixes, x)
				}
			}
			if rng.IntN(4) > 0 {
				list = append(list, p)
			}
		}
		if _, err := v.SetClients(list); err != nil {
			t.Fatal(err)
		}
		settle(v)
		for key, a := range v.clients.byKey {
			if sessions[a.peer.Name] == nil || sessions[a.peer.Name].owner != a {
				sessions[a.peer.Name] = v.session(key, a, nil)
			}
		}
		for range 20 {
			x := addr()
			owner, length := "", -1
			for _, p := range list {
				for _, pr := range p.Prefixes {
					if pr.Contains(x) && pr.Bits() > length {
						owner, length = p.Name, pr.Bits()
					}
				}
			}
			for _, p := range list {
				may := p.Name == owner || owner == "" && len(p.Prefixes) == 0
				if v.e.receiver.mayUse(sessions[p.Name], x) != may {
					t.Fatalf("%s may use %v: %v, want %v", p.Name, x, !may, may)
				}
			}
			to := names(v.route(&packet{info: flow.Info{Version: 4, Dst: x}}, nil))
			if want := []string{owner}; owner != "" && !slices.Equal(to, want) || owner == "" && len(to) != 0 {
				t.Fatalf("%v goes to %q, want %q", x, to, owner)
			}
		}
	}
}

// A packet for a client that is not there goes to nobody, even if another is the only
// one that is and may use any address.
func TestAbsentClient(t *testing.T) {
	v := idleServer(t, peer("absent", "10.0.1.0/24"), peer("open"), peer("default", "0.0.0.0/0"))
	settle(v)
	open := v.clients.byName["open"]
	s := v.session(open.peer.Key, open, nil)
	v.changed(s, true)
	to := func(a string) []string {
		return names(v.route(&packet{info: flow.Info{Version: 4, Dst: netip.MustParseAddr(a)}}, nil))
	}
	if got := to("10.0.1.1"); len(got) != 0 {
		t.Errorf("the absent client's packet goes to %q", got)
	}
	if got := to("192.0.2.1"); !slices.Equal(got, []string{"open"}) {
		t.Errorf("a packet for nobody's address goes to %q", got)
	}
	v.ended(s)
	if got := to("192.0.2.1"); len(got) != 0 || open.session != nil {
		t.Errorf("a session that has ended gets packets: %q", got)
	}
}

func TestGuard(t *testing.T) {
	v := idleServer(t, peer("alice", "10.0.1.0/24", "fd00:1::/64"), peer("open"))
	v.e.guard = newGuard(prefixes("10.0.0.0/24", "fd00::/64"), nil)
	settle(v)
	client := idleClient(t)
	client.e.guard = newGuard(prefixes("10.0.1.0/24"), prefixes("10.0.0.0/24"))
	alice, open := v.clients.byName["alice"], v.clients.byName["open"]
	fromAlice, fromOpen := v.session(alice.peer.Key, alice, nil), v.session(open.peer.Key, open, nil)
	for _, test := range []struct {
		r        *receiver
		s        *Session
		src, dst string
		want     string
	}{
		{&v.e.receiver, fromAlice, "10.0.1.1", "10.0.0.1", "admitted"},
		{&v.e.receiver, fromAlice, "fd00:1::1", "fd00::1", "admitted"},
		{&v.e.receiver, fromAlice, "10.0.1.1", "224.0.0.5", "admitted"},
		{&v.e.receiver, fromAlice, "10.0.2.1", "10.0.0.1", "spoofed"},
		{&v.e.receiver, fromAlice, "10.0.0.1", "10.0.0.1", "spoofed"},
		{&v.e.receiver, fromAlice, "10.0.1.1", "10.0.2.1", "strayed"},
		{&v.e.receiver, fromAlice, "fe80::1", "ff02::2", "spoofed"},
		{&v.e.receiver, fromAlice, "10.0.1.1", "127.0.0.1", "spoofed"},
		{&v.e.receiver, fromOpen, "10.0.2.1", "10.0.0.1", "admitted"},
		{&v.e.receiver, fromOpen, "10.0.1.1", "10.0.0.1", "spoofed"},
		{&v.e.receiver, fromOpen, "224.0.0.5", "10.0.0.1", "spoofed"},
		{&v.e.receiver, fromOpen, "127.0.0.1", "10.0.0.1", "spoofed"},
		{&v.e.receiver, fromOpen, "0.0.0.0", "10.0.0.1", "spoofed"},
		{&v.e.receiver, fromOpen, "255.255.255.255", "10.0.0.1", "spoofed"},
		{&v.e.receiver, fromOpen, "mapped 10.0.2.1", "fd00::1", "spoofed"},
		{&v.e.receiver, fromOpen, "fd00:2::1", "mapped 10.0.0.1", "spoofed"},
		{&client.e.receiver, client.session, "10.0.0.1", "10.0.1.1", "admitted"},
		{&client.e.receiver, client.session, "10.0.3.1", "10.0.1.1", "spoofed"},
		{&client.e.receiver, client.session, "10.0.0.1", "10.0.3.1", "strayed"},
	} {
		info := flow.Info{}
		for a, at := range map[string]*netip.Addr{test.src: &info.Src, test.dst: &info.Dst} {
			text, mapped := strings.CutPrefix(a, "mapped ")
			*at = netip.MustParseAddr(text)
			if at.Is6() || mapped {
				info.Version = 6
			}
		}
		if info.Version == 0 {
			info.Version = 4
		}
		test.s.rx.count = sessionReceiveCounters{}
		ok := test.r.admit(&pathState{epoch: &epoch{session: test.s}}, &info, true, 60)
		want := sessionReceiveCounters{}
		switch test.want {
		case "spoofed":
			want.spoofed = 1
		case "strayed":
			want.strayed = 1
		}
		if got := test.s.rx.count; ok != (test.want == "admitted") || got != want {
			t.Errorf("%s to %s: %v, %+v, want %s", test.src, test.dst, ok, got, test.want)
		}
	}
	for _, test := range []struct {
		side     side
		src, dst string
		want     bool
	}{
		{client, "10.0.1.1", "10.0.0.1", true},
		{client, "10.0.1.1", "224.0.0.5", true},
		{client, "10.0.3.1", "10.0.0.1", false},
		{client, "10.0.1.1", "10.0.3.1", false},
		{v, "10.0.0.1", "10.0.1.1", true},
		{v, "10.0.3.1", "10.0.1.1", false},
	} {
		p := &packet{info: flow.Info{Version: 4, Src: netip.MustParseAddr(test.src), Dst: netip.MustParseAddr(test.dst)}}
		if got := len(test.side.route(p, nil)) == 1; got != test.want {
			t.Errorf("%T sends %s to %s: %v", test.side, test.src, test.dst, got)
		}
	}
}

func idleClient(t *testing.T) *Client {
	t.Helper()
	key := crypto.GeneratePrivateKey()
	c, err := NewClient(ClientConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: key}, Server: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRouteAllocations finds one of thousands of clients without allocating.
func TestRouteAllocations(t *testing.T) {
	var list []Peer
	for i := range 3000 {
		list = append(list, Peer{
			Name:     fmt.Sprint(i),
			Key:      crypto.PublicKey{1, byte(i >> 8), byte(i)},
			Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)},
		})
	}
	v := idleServer(t, list...)
	settle(v)
	var sessions []*Session
	for _, p := range v.Clients() {
		sessions = append(sessions, v.session(p.Key, v.clients.byKey[p.Key], nil))
	}
	dst := make([]*Session, 0, 8)
	info := flow.Info{Version: 4, Src: netip.AddrFrom4([4]byte{10, 0, 3, 3}), Dst: netip.AddrFrom4([4]byte{10, 0, 9, 9})}
	p := &packet{info: info}
	path := &pathState{epoch: &epoch{session: sessions[0]}}
	if n := testing.AllocsPerRun(1000, func() {
		if got := v.route(p, dst); len(got) != 1 {
			t.Fatal("no route")
		}
		v.e.receiver.admit(path, &info, true, 60)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestChangeClientLive changes one client of three while all of them talk.
func TestChangeClientLive(t *testing.T) { synctest.Test(t, testChangeClientLive) }

func testChangeClientLive(t *testing.T) {
	m := newMany(t, 3, false, false)
	defer m.close()
	time.Sleep(time.Second)
	m.everyoneTalks()
	sessions := func() (n int) { return len(m.server.Stats().Sessions) }
	p := func(i int) Peer { return m.server.Clients()[i] }

	t.Log("# another prefix applies at once, and costs nobody a packet")
	for i := range 50 {
		x := p(1)
		x.Prefixes = append(prefixes(fmt.Sprintf("10.7.%d.0/24", i)), netip.PrefixFrom(m.sites[1].host, 24).Masked())
		if err := m.server.ChangeClient(x); err != nil {
			t.Fatal(err)
		}
		m.everyoneTalks()
	}
	moved := netip.MustParseAddr("10.7.49.1")
	m.dev.Inject(tuntest.UDP4(netip.AddrPortFrom(serverHost, 2), netip.AddrPortFrom(moved, 1), numbered(7)))
	m.sites[1].dev.Inject(tuntest.UDP4(netip.AddrPortFrom(moved, 1), netip.AddrPortFrom(serverHost, 2), numbered(8)))
	m.sites[1].dev.Inject(tuntest.UDP4(netip.AddrPortFrom(netip.MustParseAddr("10.7.48.1"), 1), netip.AddrPortFrom(serverHost, 2), numbered(9)))
	time.Sleep(time.Second)
	synctest.Wait()
	if a, b := receive(t, m.sites[1].dev), receive(t, m.dev); !slices.Equal(a, []uint64{7}) || !slices.Equal(b, []uint64{8}) {
		t.Errorf("the client got %v, want 7; the server got %v, want 8", a, b)
	}

	t.Log("# another preshared key ends the session, and only that one")
	x := p(2)
	x.Preshared = crypto.PresharedKey{1}
	if err := m.server.ChangeClient(x); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if m.sites[2].client.Stats().Sessions != nil && m.sites[2].client.Stats().Sessions[0].Up {
		t.Error("a client is in with the old preshared key")
	}
	for _, s := range m.sites[:2] {
		if st := s.client.Stats().Sessions; len(st) != 1 || !st[0].Up {
			t.Error("another client has lost its session")
		}
	}
	t.Log("# the old one again: it comes back by itself")
	x.Preshared = crypto.PresharedKey{}
	if err := m.server.ChangeClient(x); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	m.everyoneTalks()
	if n := sessions(); n != 3 {
		t.Errorf("%d sessions, want 3", n)
	}
}

// What was learnt of a client is forgotten when its prefixes change: an address may be
// another's from then on.
func TestChangeForgetsHosts(t *testing.T) {
	v := idleServer(t, peer("alice"))
	settle(v)
	alice := v.clients.byName["alice"]
	s := v.session(alice.peer.Key, alice, nil)
	r, host := &v.e.receiver, netip.MustParseAddr("10.5.0.1")
	info := flow.Info{Version: 4, Src: host, Dst: serverHost}
	r.admit(&pathState{epoch: &epoch{session: s}}, &info, true, 60)
	v.learned(s, r.tell[0].learned)
	if len(r.hosts) != 1 || len(v.routes.hosts) != 1 {
		t.Fatal("the host was not learnt")
	}
	if err := v.ChangeClient(peer("alice", "10.6.0.0/24")); err != nil {
		t.Fatal(err)
	}
	settle(v)
	if len(r.hosts) != 0 || len(v.routes.hosts) != 0 || s.rx.hosts != 0 {
		t.Errorf("%d and %d hosts are remembered", len(r.hosts), len(v.routes.hosts))
	}
}

// A client that is configured with an address that it may not use is told of, once.
func TestForeignAddressIsLogged(t *testing.T) {
	var log bytes.Buffer
	v, err := NewServer(ServerConfig{
		Config:  Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey(), Logger: slog.New(slog.NewTextHandler(&log, nil))},
		Clients: []Peer{peer("alice", "10.0.1.0/24", "10.0.4.0/24"), peer("bob", "10.0.4.0/25"), peer("open")},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, test := range []struct {
		client, announces string
		logged            bool
	}{
		{"alice", "10.0.1.7/32", false},
		{"alice", "10.0.1.0/24", false},
		{"open", "192.0.2.1/32", false},
		{"alice", "10.0.2.7/32", true},
		{"alice", "10.0.0.0/16", true},
		{"alice", "10.0.4.1/32", true},
	} {
		log.Reset()
		v.refusedAt = time.Time{}
		for range 5 {
			v.compare(now, v.clients.byName[test.client], &wire.Params{Prefixes: prefixes(test.announces)})
		}
		if n := strings.Count(log.String(), test.announces); n > 1 || n == 1 != test.logged {
			t.Errorf("%s of %s is in the log %d times: %s", test.announces, test.client, n, &log)
		}
	}
}
