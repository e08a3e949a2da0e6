package conf

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestClientFile(t *testing.T) {
	const text = `# the boat
[client]
public_key = "wU6"
preshared_key = "8Fb"
ip4 = "10.42.0.2"
ip6 = "fd00:42::2"
ip4_routes = "192.168.7.0/24 192.168.9.0/24"
ip6_routes = "2001:db8:7::/48"
`
	c, warnings, err := ParseClient(File{"/etc/mlvpn/clients.d/boat", []byte(text)})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := &ClientFile{
		File: "/etc/mlvpn/clients.d/boat", Name: "boat", PublicKey: "wU6", PresharedKey: "8Fb",
		IP4: netip.MustParseAddr("10.42.0.2"), IP6: netip.MustParseAddr("fd00:42::2"),
		IP4Routes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("192.168.9.0/24")},
		IP6Routes: []netip.Prefix{netip.MustParsePrefix("2001:db8:7::/48")},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %#v\nwant %#v", *c, *want)
	}
	if strings.Contains(c.String()+c.LogValue().String(), "8Fb") {
		t.Error("the secret is in the summary")
	}
	if again, _, err := ParseClient(File{c.File, c.Text()}); err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("written and read again: %v, %v\n%s", again, err, c.Text())
	}
}

// Whatever a file has been read from can be written and read again.
func TestClientFileRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		c := &ClientFile{File: "x/y", Name: "y", PublicKey: "k"}
		if r.IntN(2) == 0 {
			c.PresharedKey = "secret"
		}
		if r.IntN(2) == 0 {
			c.IP4 = netip.AddrFrom4([4]byte{10, byte(r.IntN(256)), byte(r.IntN(256)), 1})
		}
		if r.IntN(2) == 0 {
			c.IP6 = netip.AddrFrom16([16]byte{0xfd, byte(r.IntN(256)), 15: 1})
		}
		for i := range r.IntN(3) {
			c.IP4Routes = append(c.IP4Routes, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(i)}), 16))
			c.IP6Routes = append(c.IP6Routes, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, byte(i)}), 16+r.IntN(48)))
		}
		again, warnings, err := ParseClient(File{c.File, c.Text()})
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(again, c) {
			t.Fatalf("%v %v\n%s", err, warnings, c.Text())
		}
	}
}

func TestClientFileMistakes(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"", "[client] is missing"},
		"no key":        {"[client]\nip4 = \"10.0.0.2\"\n", ":1: public_key is missing"},
		"no section":    {"public_key = \"x\"\n", "write [client] above it"},
		"link":          {"[client]\npublic_key = \"x\"\n[dsl]\nbindport = 1\n", ":3: the file of a client"},
		"prefix length": {"[client]\npublic_key = \"x\"\nip4 = \"10.0.0.2/24\"\n", ":3: ip4"},
		"wrong family":  {"[client]\npublic_key = \"x\"\nip6_routes = \"10.0.0.0/8\"\n", ":3: "},
		"binary":        {"[client]\x00", "plain text"},
	} {
		_, _, err := ParseClient(File{"clients.d/boat", []byte(test.text)})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "clients.d/boat") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	_, warnings, err := ParseClient(File{"boat", []byte("[client]\npublic_key = \"x\"\npublic_kye = \"y\"\n")})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "did you mean public_key?") {
		t.Errorf("%v, %v", warnings, err)
	}
}

// What a server lets each client use is not one list for all.
func TestRemoteNetworksOfServer(t *testing.T) {
	_, warnings, err := Parse("x", strings.NewReader(strings.Replace(keysServer, "[wan]", "ip4_remote = \"10.0.0.0/8\"\n[wan]", 1)))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "ip4_remote is ignored") {
		t.Errorf("%v, %v", warnings, err)
	}
}

func TestValidClientName(t *testing.T) {
	for _, good := range []string{"a", "boat", "van-2", "A.b_c", strings.Repeat("x", 64)} {
		if !ValidClientName(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", ".", "..", ".boat", "-boat", "_boat", "boat~", "a/b", "a b", "é", "a\n", "#boat#", strings.Repeat("x", 65)} {
		if ValidClientName(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

const keysServer = "[general]\nmode = \"server\"\nprivate_key = \"x\"\n[wan]\nbindport = 5080\n"

// configTree writes a server's configuration with clients and returns its path.
func configTree(t *testing.T, clients ...string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "mlvpn.conf")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, keysServer)
	if err := os.Mkdir(filepath.Join(dir, "clients.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range clients {
		write(filepath.Join(dir, "clients.d", name), "[client]\npublic_key = \""+name+"\"\n")
	}
	return path
}

func TestRead(t *testing.T) {
	path := configTree(t, "boat", "van", "van~", ".hidden")
	files, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	c, clients, warnings, err := files.Parse(Options{})
	if err != nil || c.Mode != Server || len(clients) != 2 || clients[0].Name != "boat" || clients[1].PublicKey != "van" {
		t.Errorf("%v, %v, %v", c, clients, err)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0].String(), ".hidden: not read") {
		t.Errorf("warnings %v", warnings)
	}
	t.Log("# all that is wrong is said at once")
	dir := filepath.Join(filepath.Dir(path), "clients.d")
	for _, name := range []string{"boat", "van"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("[client]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err = Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err = files.Parse(Options{}); err == nil || !strings.Contains(err.Error(), "boat:1") || !strings.Contains(err.Error(), "van:1") {
		t.Errorf("%v", err)
	}
	t.Log("# no clients are none")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if files, err := Read(path); err != nil || len(files.Clients) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"open file":        {func(dir string) error { return os.Chmod(filepath.Join(dir, "boat"), 0o640) }, "chmod 600"},
		"open directory":   {func(dir string) error { return os.Chmod(dir, 0o770) }, "chmod 700"},
		"link to a FIFO":   {func(dir string) error { return os.Symlink("/dev/null", filepath.Join(dir, "van")) }, "not a regular file"},
		"file for the dir": {func(dir string) error { return spoilDir(dir) }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			path := configTree(t, "boat")
			if err := test.spoil(filepath.Join(filepath.Dir(path), "clients.d")); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(path); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func spoilDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.WriteFile(dir, nil, 0o600)
}

func FuzzParseClient(f *testing.F) {
	f.Add("[client]\npublic_key = \"x\"\nip4_routes = \"10.0.0.0/8\"\n")
	f.Add("[client]\npublic_key = x\n[client]\nip6 = \"::1\"")
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := ParseClient(File{"boat", []byte(text)})
		if err != nil {
			return
		}
		again, _, err := ParseClient(File{"boat", c.Text()})
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%v: read %+v, want %+v", err, again, c)
		}
	})
}
