package setup

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
)

func randomInvite(r *rand.Rand) *Invite {
	text := func(n int) string { return strings.Repeat("x", r.IntN(n)) }
	v := &Invite{Server: crypto.GeneratePrivateKey().Public(), Name: text(65), Network: text(256), Host: "h" + text(255)}
	if r.IntN(2) == 0 {
		v.Client, v.Preshared = crypto.GeneratePrivateKey(), crypto.GeneratePresharedKey()
	}
	for range 1 + r.IntN(255) {
		v.Ports = append(v.Ports, uint16(1+r.IntN(65535)))
	}
	return v
}

func TestInviteRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		v := randomInvite(r)
		text := v.EncodeText()
		if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:") != "" {
			t.Fatalf("%q needs care in a shell", text)
		}
		n := r.IntN(len(text))
		broken := " " + text[:n] + "\r\n\t" + text[n:] + "\n"
		for _, s := range []string{text, broken} {
			if got, err := ParseInvite(s); err != nil || !reflect.DeepEqual(got, v) {
				t.Fatalf("%v: got %#v, want %#v", err, got, v)
			}
		}
		if s := fmt.Sprintf("%v %+v %#v", v, *v, v); strings.Contains(s, v.Server.String()) || len(s) > 2000 {
			t.Fatalf("too much is printed: %s", s)
		}
	}
}

// Every change of a character is noticed, and every cut.
func TestInviteDamage(t *testing.T) {
	v := &Invite{Server: crypto.GeneratePrivateKey().Public(), Client: crypto.GeneratePrivateKey(), Name: "boat", Host: "server.example.net", Ports: []uint16{5080}}
	text := v.EncodeText()
	for i := range text {
		c := byte('A')
		if text[i] == c {
			c = 'B'
		}
		for _, bad := range []string{text[:i] + string(c) + text[i+1:], text[:i], text[:i] + text[i+1:]} {
			if _, err := ParseInvite(bad); err == nil {
				t.Errorf("a line that is damaged at %d is taken", i)
			} else if strings.Contains(err.Error(), text[4:20]) {
				t.Errorf("the secret line is in an error: %v", err)
			}
		}
	}
	for _, bad := range []*Invite{
		{Server: v.Server, Host: "h"},
		{Server: v.Server, Ports: []uint16{1}},
		{Host: "h", Ports: []uint16{1}},
		{Server: v.Server, Host: "h", Ports: []uint16{0}},
	} {
		if _, err := ParseInvite(bad.EncodeText()); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// Another version is said to be one.
func TestInviteVersion(t *testing.T) {
	b := []byte{2, 0, 0}
	text := invitePrefix + base64.RawURLEncoding.EncodeToString(append(b, checksum(b)...))
	if _, err := ParseInvite(text); err == nil || !strings.Contains(err.Error(), "version") {
		t.Error(err)
	}
}

func FuzzParseInvite(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 3 {
		text := randomInvite(r).EncodeText()
		b, _ := base64.RawURLEncoding.DecodeString(text[len(invitePrefix):])
		f.Add(b[:len(b)-checksumSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := invitePrefix + base64.RawURLEncoding.EncodeToString(append(b, checksum(b)...))
		if v, err := ParseInvite(text); err == nil && v.EncodeText() != text {
			t.Error("another text says the same")
		}
	})
}

// newServer makes a server in a directory of its own.
func newServer(t *testing.T, cfg ServerConfig) (file string, c *conf.Config) {
	t.Helper()
	cfg.File = filepath.Join(t.TempDir(), "etc", "mlvpn.conf")
	if cfg.Host == "" {
		cfg.Host = "server.example.net"
	}
	c, err := InitServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.File, c
}

func TestInitServer(t *testing.T) {
	file, c := newServer(t, ServerConfig{})
	if c.Mode != conf.Server || c.PublicHost != "server.example.net" || c.Links[0].BindPort != DefaultPort {
		t.Errorf("%+v", c)
	}
	if !c.IP4.Addr().IsPrivate() || c.IP4.Bits() != 24 || !c.IP6.Addr().IsPrivate() || c.IP6.Bits() != 64 {
		t.Errorf("networks %v and %v", c.IP4, c.IP6)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	before, _ := os.ReadFile(file)
	if _, err := InitServer(ServerConfig{File: file, Host: "other"}); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second time: %v", err)
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Error("the file was overwritten")
	}
	_, other := newServer(t, ServerConfig{Port: 443, IP4: netip.MustParsePrefix("10.42.0.1/28")})
	if other.IP4.String() != "10.42.0.1/28" || other.Links[0].BindPort != 443 || other.IP6 == c.IP6 || other.PrivateKey == c.PrivateKey {
		t.Errorf("%+v", other)
	}
}

func TestAddClient(t *testing.T) {
	file, c := newServer(t, ServerConfig{IP4: netip.MustParsePrefix("10.42.0.1/29")})
	own, _ := crypto.ParsePrivateKey(c.PrivateKey)
	seen := make(map[string]bool)
	for i := range 5 { // 6 addresses, and the server has one
		name := fmt.Sprint("boat", i)
		inv, err := AddClient(file, NewClient{Name: name, Routes: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("192.168.%d.9/24", i)), netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/32", i+1))}})
		if err != nil {
			t.Fatal(err)
		}
		if inv.Server != own.Public() || inv.Host != "server.example.net" || inv.Name != name || fmt.Sprint(inv.Ports) != "[5080]" {
			t.Errorf("%+v", *inv)
		}
		list, err := ListClients(file)
		if err != nil || len(list) != i+1 {
			t.Fatalf("%v, %v", list, err)
		}
		f := list[i]
		if f.Name != name || f.PublicKey != inv.Client.Public().String() || f.PresharedKey != inv.Preshared.EncodeText() {
			t.Errorf("%+v does not fit the invitation", f)
		}
		if want := fmt.Sprintf("10.42.0.%d [192.168.%d.0/24] [fd00:%d::/32]", i+2, i, i+1); fmt.Sprint(f.IP4, " ", f.IP4Routes, " ", f.IP6Routes) != want {
			t.Errorf("%v %v %v, want %s", f.IP4, f.IP4Routes, f.IP6Routes, want)
		}
		for _, unique := range []string{f.PublicKey, f.PresharedKey, f.IP6.String()} {
			if seen[unique] {
				t.Errorf("%s comes twice", unique)
			}
			seen[unique] = true
		}
		fi, err := os.Stat(f.File)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s: %v, %v", f.File, fi, err)
		}
		if text, _ := os.ReadFile(f.File); strings.Contains(string(text), inv.Client.EncodeText()) {
			t.Error("the server keeps the client's private key")
		}
	}
	if fi, err := os.Stat(filepath.Join(filepath.Dir(file), "clients.d")); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode of clients.d: %v, %v", fi, err)
	}
	if _, err := AddClient(file, NewClient{Name: "one-too-many"}); err == nil || !strings.Contains(err.Error(), "10.42.0.0/29 has no address left") {
		t.Errorf("the network is full: %v", err)
	}
	if err := RemoveClient(file, "boat1"); err != nil {
		t.Fatal(err)
	}
	if _, err := AddClient(file, NewClient{Name: "boat0"}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the same name: %v", err)
	}
	list, _ := ListClients(file)
	key, _ := crypto.ParsePublicKey(list[0].PublicKey)
	if _, err := AddClient(file, NewClient{Name: "thief", Key: key}); err == nil || !strings.Contains(err.Error(), "boat0") {
		t.Errorf("the same key: %v", err)
	}
	for _, name := range []string{"", "../mlvpn.conf", "a/b", ".hidden", "a b"} {
		if _, err := AddClient(file, NewClient{Name: name}); err == nil {
			t.Errorf("name %q is taken", name)
		}
	}
	if err := RemoveClient(file, "../mlvpn.conf"); err == nil || !strings.Contains(err.Error(), "boat0, boat2") {
		t.Errorf("remove what is no client: %v", err)
	}
	own2 := crypto.GeneratePrivateKey()
	inv, err := AddClient(file, NewClient{Name: "own-key", Key: own2.Public(), Host: "192.0.2.1"})
	if err != nil || !inv.Client.IsZero() || inv.Host != "192.0.2.1" {
		t.Errorf("%v, %v", inv, err)
	}
	if list, _ = ListClients(file); list[4].IP4.String() != "10.42.0.3" || list[4].PublicKey != own2.Public().String() {
		t.Errorf("%+v has not got the address that is free again", list[4])
	}
}

func TestServerCommandsElsewhere(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct{ text, want string }{
		"client":   {"[general]\nmode = \"client\"\npassword = \"a very long random string, really\"\n[a]\nremotehost = \"h\"\nremoteport = 1\n", "at the server"},
		"password": {"[general]\nmode = \"server\"\npassword = \"a very long random string, really\"\n[a]\nbindport = 1\n", "init-server"},
		"no host":  {fmt.Sprintf("[general]\nmode = \"server\"\nprivate_key = %q\n[a]\nbindport = 1\n", crypto.GeneratePrivateKey().EncodeText()), "--host"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := AddClient(file, NewClient{Name: "boat"}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestJoin(t *testing.T) {
	server, c := newServer(t, ServerConfig{})
	inv, err := AddClient(server, NewClient{Name: "boat"})
	if err != nil {
		t.Fatal(err)
	}
	inv.Network, inv.Ports = "sea", []uint16{5080, 5081}
	file := filepath.Join(t.TempDir(), "mlvpn.conf")
	lines := []Line{{Interface: "eth0", Bind: true}, {Interface: "wwan0", Bind: true, Addr: netip.MustParseAddr("192.0.2.8")}, {Interface: "filters", Addr: netip.MustParseAddr("192.0.2.7")}}
	got, err := Join(file, inv, crypto.PrivateKey{}, lines)
	if err != nil {
		t.Fatal(err)
	}
	if read, _, err := conf.Load(file); err != nil || !reflect.DeepEqual(read, got) {
		t.Errorf("read again: %v, %v", read, err)
	}
	own, _ := crypto.ParsePrivateKey(c.PrivateKey)
	if got.Mode != conf.Client || got.PrivateKey != inv.Client.EncodeText() || got.PeerKey != own.Public().String() ||
		got.PresharedKey != inv.Preshared.EncodeText() || got.Network != "sea" || got.IP4.IsValid() {
		t.Errorf("%+v", got)
	}
	var links []string
	for _, l := range got.Links {
		links = append(links, fmt.Sprint(l.Name, " ", l.BindDev, " ", l.BindHost, " ", l.RemoteHost, ":", l.RemotePort))
	}
	want := "eth0 eth0  server.example.net:5080; wwan0 wwan0 192.0.2.8 server.example.net:5081; line-filters  192.0.2.7 server.example.net:5080"
	if s := strings.Join(links, "; "); s != want {
		t.Errorf("links %s\nwant  %s", s, want)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi, err)
	}
	if _, err := Join(file, inv, crypto.PrivateKey{}, lines); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second time: %v", err)
	}
}

// An invitation or an interface cannot bring in lines of its own, and what does not fit
// together is refused before anything is written.
func TestJoinRefuses(t *testing.T) {
	good := Invite{Server: crypto.GeneratePrivateKey().Public(), Client: crypto.GeneratePrivateKey(), Name: "boat", Host: "h", Ports: []uint16{1}}
	eth0 := []Line{{Interface: "eth0"}}
	for name, test := range map[string]struct {
		spoil func(*Invite)
		key   crypto.PrivateKey
		lines []Line
	}{
		"host":        {spoil: func(v *Invite) { v.Host = "h\"\nstatuscommand = \"/bin/evil" }, lines: eth0},
		"network":     {spoil: func(v *Invite) { v.Network = "n\"\nstatuscommand = \"/bin/evil" }, lines: eth0},
		"bad host":    {spoil: func(v *Invite) { v.Host = "not a host" }, lines: eth0},
		"interface":   {lines: []Line{{Interface: "eth0]\n[general"}}},
		"no line":     {},
		"no key":      {spoil: func(v *Invite) { v.Client = crypto.PrivateKey{} }, lines: eth0},
		"two keys":    {key: crypto.GeneratePrivateKey(), lines: eth0},
		"two of them": {lines: []Line{{Interface: "eth0"}, {Interface: "eth0"}}},
	} {
		inv := good
		if test.spoil != nil {
			test.spoil(&inv)
		}
		file := filepath.Join(t.TempDir(), "mlvpn.conf")
		if _, err := Join(file, &inv, test.key, test.lines); err == nil {
			text, _ := os.ReadFile(file)
			t.Errorf("%s: no error\n%s", name, text)
		} else if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: a file was written", name)
		}
	}
	if _, err := InitServer(ServerConfig{File: filepath.Join(t.TempDir(), "x"), Host: "h\"\nstatuscommand = \"/bin/evil"}); err == nil {
		t.Error("a host of a server brings in a line")
	}
}
