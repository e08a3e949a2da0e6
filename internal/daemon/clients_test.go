package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/mlvpn"
	"github.com/multilink-vpn/multilink/tun/tuntest"
)

// serverText is a server that knows its clients by key.
func serverText() string {
	return fmt.Sprintf("[general]\nmode = \"server\"\nprivate_key = %q\nip4 = \"10.42.0.1/24\"\nip6 = \"fd42::1/64\"\n[wan]\nbindport = 5080\n",
		crypto.GeneratePrivateKey().EncodeText())
}

// clientText is the file of a client with these further lines.
func clientFile(key crypto.PublicKey, more string) string {
	return fmt.Sprintf("[client]\npublic_key = %q\n%s\n", key, more)
}

func publicKey(i byte) crypto.PublicKey {
	k := crypto.PrivateKey{1: i, 2: 1}
	return k.Public()
}

// writeClient writes the file of a client beside a configuration file.
func writeClient(t *testing.T, config, name, text string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(config), "clients.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestParseClient(t *testing.T) {
	c := parse(t, serverText())
	psk := crypto.GeneratePresharedKey()
	f := &conf.ClientFile{
		Name: "boat", PublicKey: publicKey(1).String(), PresharedKey: psk.EncodeText(),
		IP4: netip.MustParseAddr("10.42.0.7"), IP6: netip.MustParseAddr("fd42::7"),
		IP4Routes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")},
	}
	p, err := parseClient(c, f)
	if err != nil || p.Name != "boat" || p.Key != publicKey(1) || p.Preshared != psk || fmt.Sprint(p.Addresses, p.Prefixes) != "[10.42.0.7/24 fd42::7/64] [192.168.7.0/24]" {
		t.Errorf("%+v, %v", p, err)
	}
	for want, spoil := range map[string]func(*conf.ClientFile){
		"public_key":       func(f *conf.ClientFile) { f.PublicKey = "nonsense" },
		"preshared_key":    func(f *conf.ClientFile) { f.PresharedKey = "nonsense" },
		"the server's own": func(f *conf.ClientFile) { f.IP4 = c.IP4.Addr() },
		"10.42.0.0/24":     func(f *conf.ClientFile) { f.IP4 = netip.MustParseAddr("10.43.0.2") },
		"fd42::/64":        func(f *conf.ClientFile) { f.IP6 = netip.MustParseAddr("fd43::2") },
	} {
		bad := *f
		bad.File = "clients.d/boat"
		spoil(&bad)
		if _, err := parseClient(c, &bad); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "clients.d/boat") {
			t.Errorf("error %v, want one with %q and the file", err, want)
		}
	}
}

func TestPools(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "[10.42.0.1/24 fd42::1/64]",
		"tuntap = \"tap\"\n":                     "[]",
		"mtu = 1400\n" + "timeout = 30\n" + "\n": "[10.42.0.1/24 fd42::1/64]",
	} {
		if got := fmt.Sprint(pools(parse(t, strings.Replace(serverText(), "ip4", text+"ip4", 1)))); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := pools(&conf.Config{IP4: netip.MustParsePrefix("10.0.0.1/32")}); got != nil {
		t.Errorf("a single address is a pool: %v", got)
	}
}

// TestReloadClients changes the files of a server's clients.
func TestReloadClients(t *testing.T) {
	r, _, log := reloading(t, serverText())
	server, err := mlvpn.NewServer(serverConfig(r.now, mlvpn.Config{Device: tuntest.New(tuntest.Config{}), Key: r.now.keys.private}))
	if err != nil {
		t.Fatal(err)
	}
	r.parts = append(r.parts, clientList{server, r.opts.Log})
	names := func() (list []string) {
		for _, p := range server.Clients() {
			list = append(list, fmt.Sprintf("%s%v%v", p.Name, p.Addresses, p.Prefixes))
		}
		return list
	}
	reload := func(good bool, change, now string) {
		t.Helper()
		log.Reset()
		if err := r.reload(); (err == nil) != good {
			t.Errorf("reload: %v", err)
		}
		if !strings.Contains(log.String(), change) {
			t.Errorf("the log does not say %q:\n%s", change, log)
		}
		if got := fmt.Sprint(names()); got != now {
			t.Errorf("clients %s, want %s", got, now)
		}
	}
	file := r.opts.Config
	writeClient(t, file, "boat", clientFile(publicKey(1), "ip4 = \"10.42.0.2\""))
	writeClient(t, file, "van", clientFile(publicKey(2), "ip4_routes = \"192.168.7.0/24\""))
	reload(true, "clients: added boat, van", "[boat[10.42.0.2/24][] van[][192.168.7.0/24]]")
	reload(true, "changes=0", "[boat[10.42.0.2/24][] van[][192.168.7.0/24]]")

	t.Log("# one mistake refuses all of it")
	writeClient(t, file, "van", clientFile(publicKey(2), "ip4_routes = \"192.168.8.0/24\""))
	writeClient(t, file, "car", clientFile(publicKey(1), ""))
	reload(false, "the old one stays in force", "[boat[10.42.0.2/24][] van[][192.168.7.0/24]]")
	if !strings.Contains(log.String(), `\"boat\" and \"car\" have the same public key`) {
		t.Errorf("the log does not say which clients have the same key:\n%s", log)
	}
	writeClient(t, file, "car", clientFile(publicKey(3), "ip4 = \"10.42.0.2\""))
	reload(false, "10.42.0.2/32", "[boat[10.42.0.2/24][] van[][192.168.7.0/24]]")

	t.Log("# corrected")
	writeClient(t, file, "car", clientFile(publicKey(3), ""))
	reload(true, "clients: added car; changed van", "[boat[10.42.0.2/24][] car[][] van[][192.168.8.0/24]]")
	if err := os.Remove(filepath.Join(filepath.Dir(file), "clients.d", "boat")); err != nil {
		t.Fatal(err)
	}
	reload(true, "clients: removed boat", "[car[][] van[][192.168.8.0/24]]")
}

// The client in the configuration of a server may use any address, as before there were
// files.
func TestPeerKeyClient(t *testing.T) {
	r, _, _ := reloading(t, strings.Replace(serverText(), "ip4", fmt.Sprintf("peer_key = %q\nip4", publicKey(9)), 1))
	if list := r.now.clients; len(list) != 1 || list[0].Name != "client" || list[0].Key != publicKey(9) || fmt.Sprint(list[0].Prefixes) != "[0.0.0.0/0 ::/0]" {
		t.Errorf("clients %v", list)
	}
}

// TestServePrivileged speaks to the process that keeps its privileges as a daemon does.
func TestServePrivileged(t *testing.T) {
	r, _, _ := reloading(t, serverText())
	writeClient(t, r.opts.Config, "boat", clientFile(publicKey(1), ""))
	toChild, in := io.Pipe()
	out, fromChild := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- ServePrivileged(toChild, fromChild)
		fromChild.Close()
	}()
	remote := &remoteTask{in: json.NewEncoder(in), out: json.NewDecoder(out)}
	if err := remote.in.Encode(task{Config: r.opts.Config, Interface: "no such interface"}); err != nil {
		t.Fatal(err)
	}
	next, err := readSettings(r.opts, remote.read, nil)
	if err != nil || len(next.clients) != 1 || next.keys.private != r.now.keys.private {
		t.Errorf("%v, %v", next, err)
	}
	if err := os.Chmod(r.opts.Config, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.read(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that all can read was read: %v", err)
	}
	if err := remote.address([]netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}, nil); err == nil {
		t.Error("an interface that does not exist has got an address")
	}
	in.Close()
	if err := <-ended; err != nil {
		t.Errorf("the end of its input is an error: %v", err)
	}
	if _, err := remote.read(); err == nil {
		t.Error("a process that has ended has answered")
	}
}

// fakeRoot records what is asked of the privileged process.
type fakeRoot struct {
	task
	did []string
	err error
}

func (f *fakeRoot) address(add, remove []netip.Prefix) error {
	f.did = append(f.did, fmt.Sprint("add ", add, " remove ", remove))
	return f.err
}

func TestAssigner(t *testing.T) {
	root := &fakeRoot{}
	a := &assigner{conf: parse(t, clientText), root: root, log: discard}
	p := func(s string) netip.Prefix { return netip.MustParsePrefix(s) }
	a.set([]netip.Prefix{p("10.0.0.2/24"), p("fd00::2/64")})
	a.set([]netip.Prefix{p("10.0.0.3/24"), p("fd00::2/64")})
	root.err = os.ErrPermission
	a.set(nil)
	root.err = nil
	a.set(nil)
	want := "add [10.0.0.2/24 fd00::2/64] remove []; add [10.0.0.3/24 fd00::2/64] remove [10.0.0.2/24]; " +
		"add [] remove [10.0.0.3/24 fd00::2/64]; add [] remove [10.0.0.3/24 fd00::2/64]"
	if got := strings.Join(root.did, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	a.conf.StatusCommand = "/bin/true"
	if a.set([]netip.Prefix{p("10.0.0.9/24")}); len(root.did) != 4 {
		t.Error("the interface was changed although a statuscommand sets it up")
	}
}
