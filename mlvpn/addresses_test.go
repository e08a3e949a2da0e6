package mlvpn

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/flow"
	"github.com/multilink-vpn/multilink/internal/wire"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

var pools = prefixes("10.9.0.1/24", "fd09::1/64")

// pooled is a world whose server gives out addresses and whose client asks for one.
func pooled(t *testing.T, password bool, server func(*ServerConfig)) *world {
	return newWorld(t, worldConfig{
		lines: twoLines(),
		client: func(c *ClientConfig) {
			c.Prefixes = nil
			if password {
				c.Key, c.Server, c.PasswordKey = zeroKey, zeroPublic, passwordKey()
			}
		},
		server: func(c *ServerConfig) {
			c.Pools = pools
			if password {
				c.Key, c.Clients, c.PasswordKey = zeroKey, nil, passwordKey()
			}
			if server != nil {
				server(c)
			}
		},
	})
}

// talks sends a packet from and to each address of the client's.
func (w *world) talks(addrs []netip.Prefix) {
	w.t.Helper()
	for _, a := range addrs {
		us, them := netip.AddrPortFrom(a.Addr(), 1), netip.AddrPortFrom(serverHost, 2)
		make := tuntest.UDP4
		if a.Addr().Is6() {
			make, them = tuntest.UDP6, netip.AddrPortFrom(netip.MustParseAddr("fd09::1"), 2)
		}
		w.inject(w.cdev, make(us, them, numbered(1)))
		w.inject(w.sdev, make(them, us, numbered(2)))
		w.sleep(100 * time.Millisecond)
		for _, dev := range []*tuntest.Device{w.sdev, w.cdev} {
			buf := make2048()
			if _, ok := dev.TryReceive(buf); !ok {
				w.t.Errorf("%v: a packet was not delivered", a)
			}
		}
	}
}

func make2048() []byte { return make([]byte, 2048) }

func TestAddresses(t *testing.T) {
	for _, password := range []bool{false, true} {
		t.Run(fmt.Sprintf("password=%v", password), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testAddresses(t, password) })
		})
	}
}

func testAddresses(t *testing.T, password bool) {
	w := pooled(t, password, nil)
	defer func() { w.close() }()
	w.sleep(200 * time.Millisecond)
	w.wantEvents("addressed", "link up a", "link up b", "session up")
	first := w.client.Addresses()
	if len(first) != 2 || !pools[0].Contains(first[0].Addr()) || first[0].Bits() != 24 || first[0].Addr() == pools[0].Addr() || !pools[1].Contains(first[1].Addr()) {
		t.Fatalf("addresses %v", first)
	}
	w.talks(first)

	t.Log("# the server restarts: the client has the same addresses, and is told nothing new")
	w.stopServer()
	w.sleep(time.Second)
	w.log.take()
	w.restartServer()
	w.sleep(10 * time.Second)
	if got := w.client.Addresses(); !slices.Equal(got, first) || slices.Contains(w.log.take(), "addressed") {
		t.Errorf("addresses %v, want %v as before", got, first)
	}
	w.talks(first)

	if password {
		return
	}
	t.Log("# another client has the addresses by configuration: this one gets others, at once")
	other := Peer{Name: "other", Key: crypto.PublicKey{7}, Addresses: first}
	if err := w.server.AddClient(other); err != nil {
		t.Fatal(err)
	}
	w.sleep(time.Second)
	second := w.client.Addresses()
	if len(second) != 2 || second[0] == first[0] || second[1] == first[1] {
		t.Errorf("addresses %v after %v were given to another", second, first)
	}
	w.talks(second)
	w.inject(w.cdev, tuntest.UDP4(netip.AddrPortFrom(first[0].Addr(), 1), netip.AddrPortFrom(serverHost, 2), numbered(3)))
	w.sleep(100 * time.Millisecond)
	if _, ok := w.sdev.TryReceive(make2048()); ok {
		t.Error("a packet from the old address was delivered")
	}

	t.Log("# it has some by configuration itself: these it gets, and what it had is free again")
	x := w.server.Clients()[0]
	x.Addresses = prefixes("10.9.0.77/24")
	if err := w.server.ChangeClient(x); err != nil {
		t.Fatal(err)
	}
	w.sleep(time.Second)
	if got := w.client.Addresses(); !slices.Equal(got, x.Addresses) {
		t.Errorf("addresses %v, want %v", got, x.Addresses)
	}
	w.talks(x.Addresses)
	if n := len(w.server.addressing.leases); n != 0 {
		t.Errorf("%d addresses are still lent", n)
	}
}

// A client that announces addresses is given none.
func TestAddressesOnRequestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldConfig{
			lines:  twoLines(),
			client: func(c *ClientConfig) { c.Prefixes = prefixes("10.9.0.5/32") },
			server: func(c *ServerConfig) { c.Pools = pools },
		})
		defer w.close()
		w.sleep(time.Second)
		w.wantEvents("link up a", "link up b", "session up")
		if got := w.client.Addresses(); len(got) != 0 {
			t.Errorf("addresses %v", got)
		}
	})
}

// TestSmallPool gives many clients addresses from a small pool: all differ, and
// those that get none are served all the same.
func TestSmallPool(t *testing.T) {
	var list []Peer
	for i := range 20 {
		list = append(list, Peer{Name: fmt.Sprint(i), Key: crypto.PublicKey{1, byte(i)}})
	}
	list[3].Addresses = prefixes("10.9.0.2/28")
	list[4].Prefixes = prefixes("10.9.0.3/32")
	cfg := ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()}, Clients: list, Pools: prefixes("10.9.0.1/28")}
	v, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	holder := make(map[netip.Addr]string)
	login := func(name string) []netip.Prefix {
		a := v.clients.byName[name]
		addrs := v.offer(a.peer.Key, a, &wire.Params{})
		v.grant(v.session(a.peer.Key, a, nil), addrs)
		return addrs
	}
	first := make(map[string][]netip.Prefix)
	for _, p := range list {
		first[p.Name] = login(p.Name)
		for _, a := range first[p.Name] {
			if other := holder[a.Addr()]; other != "" {
				t.Errorf("%s and %s both have %v", other, p.Name, a)
			}
			holder[a.Addr()] = p.Name
		}
	}
	// There are 13 besides the server's; one is the prefix of a client that gets another.
	if len(holder) != 12 || holder[netip.MustParseAddr("10.9.0.2")] != "3" || holder[netip.MustParseAddr("10.9.0.3")] != "" {
		t.Errorf("%d addresses are held: %v", len(holder), holder)
	}
	for _, p := range list {
		if again := login(p.Name); !slices.Equal(again, first[p.Name]) {
			t.Errorf("client %s gets %v at its second handshake", p.Name, again)
		}
	}
	settle(v)
	if v.e.receiver.mayUse(v.clients.byName["0"].session, netip.MustParseAddr("192.0.2.1")) {
		t.Error("a client without prefixes may use any address, although there is a pool")
	}
	for a, name := range holder {
		for _, p := range list {
			may := v.e.receiver.mayUse(v.clients.byName[p.Name].session, a)
			if may != (p.Name == name) {
				t.Errorf("client %s may use %v of client %s: %v", p.Name, a, name, may)
			}
		}
		if got := names(v.route(&packet{info: flow.Info{Version: 4, Dst: a}}, nil)); !slices.Equal(got, []string{name}) {
			t.Errorf("%v goes to %q, want %s", a, got, name)
		}
	}
	t.Log("# one ends, and its address is there for another")
	for a, name := range holder {
		if name == "3" {
			continue
		}
		v.ended(v.clients.byName[name].session)
		settle(v)
		if v.e.receiver.mayUse(&Session{owner: v.clients.byName[name]}, a) {
			t.Errorf("client %s may still use %v", name, a)
		}
		break
	}
	if len(v.addressing.leases) != 10 {
		t.Errorf("%d addresses are lent", len(v.addressing.leases))
	}
}

func TestBadPools(t *testing.T) {
	for _, bad := range [][]netip.Prefix{
		{{}},
		prefixes("10.0.0.1/8", "10.1.0.1/16"),
		prefixes("10.0.0.1/24", "10.0.1.1/24", "10.0.2.1/24", "10.0.3.1/24", "10.0.4.1/24"),
	} {
		cfg := ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), Key: crypto.GeneratePrivateKey()}, Pools: bad}
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("pools %v were taken", bad)
		}
	}
}

// A RESP has only as many addresses as its INIT allows.
func TestFit(t *testing.T) {
	addrs := prefixes("10.0.0.2/24", "fd00::2/64", "fd01::2/64", "10.1.0.2/24")
	whole := wire.ResponseOverhead + 48 + 71
	for room, want := range map[int]int{0: 0, whole: 0, whole + 8: 0, whole + 9: 1, whole + 29: 1, whole + 30: 2, whole + 59: 3, whole + 60: 4, 2000: 4} {
		if got := fit(addrs, room, 71); len(got) != want {
			t.Errorf("%d bytes: %d addresses, want %d", room, len(got), want)
		}
	}
}

// TestMaxClients bounds the sessions of those who share a password.
func TestMaxClients(t *testing.T) {
	v, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), PasswordKey: passwordKey()}, MaxClients: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		hello := &wire.Params{Client: i + 1}
		if err := v.roomFor(nil, hello); (err == nil) != (i < 2) {
			t.Errorf("client %d: %v", i+1, err)
		} else if err == nil {
			v.session(zeroPublic, nil, hello)
		}
	}
	if err := v.roomFor(nil, &wire.Params{Client: 1}); err != nil {
		t.Errorf("a client that is there cannot come back: %v", err)
	}
}

// An address that a client by password announces is not lent to another, and if it is, who
// announces it has it.
func TestAnnouncedAddresses(t *testing.T) {
	v, err := NewServer(ServerConfig{Config: Config{Device: tuntest.New(tuntest.Config{}), PasswordKey: passwordKey()}, Pools: prefixes("10.9.0.1/30")})
	if err != nil {
		t.Fatal(err)
	}
	login := func(hello wire.Params) *Session {
		addrs := v.offer(zeroPublic, nil, &hello)
		s := v.session(zeroPublic, nil, &hello)
		v.grant(s, addrs)
		v.changed(s, true)
		return s
	}
	only := netip.MustParseAddr("10.9.0.2") // that there is to lend
	to := func() []string {
		return names(v.route(&packet{info: flow.Info{Version: 4, Dst: only}}, nil))
	}
	lent := login(wire.Params{Client: 1, Name: "lent"})
	if got := to(); !slices.Equal(got, []string{"lent"}) {
		t.Errorf("the lent address goes to %q", got)
	}
	own := login(wire.Params{Client: 2, Name: "own", Prefixes: prefixes("10.9.0.2/32")})
	if got := to(); !slices.Equal(got, []string{"own"}) {
		t.Errorf("the announced address goes to %q", got)
	}
	v.ended(lent)
	if got := to(); !slices.Equal(got, []string{"own"}) {
		t.Errorf("after the other has ended, the announced address goes to %q", got)
	}
	if third := login(wire.Params{Client: 5, Name: "third"}); len(third.leased) != 0 {
		t.Errorf("the announced address is lent again: %v", third.leased)
	}
	v.ended(own)
	if got := login(wire.Params{Client: 3, Name: "next"}); len(got.leased) != 1 || !slices.Equal(to(), []string{"next"}) {
		t.Errorf("the address is not free again: %v", got.leased)
	}
	v.ended(v.sessions[identity{password: "3"}])
	login(wire.Params{Client: 2, Name: "own", Prefixes: prefixes("10.9.0.2/32")})
	if late := login(wire.Params{Client: 4, Name: "late"}); len(late.leased) != 0 {
		t.Errorf("an announced address is lent: %v", late.leased)
	}
}
