package setup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/lease"
)

// A ServerConfig says what InitServer cannot know.
type ServerConfig struct {
	// File is the path of the configuration file to write.
	File string

	// Host is the address or name by which clients reach the server. Required.
	Host string

	// Port is the UDP port. 0 means 5080.
	Port uint16

	// IP4 and IP6 are the server's addresses inside the tunnel with the lengths of the
	// tunnel's networks. The zero Prefix: a random private network of each.
	IP4, IP6 netip.Prefix
}

// DefaultPort is the UDP port of a server unless it is told another.
const DefaultPort = 5080

// InitServer writes the configuration of a new server, with a key of its own.
func InitServer(cfg ServerConfig) (*conf.Config, error) {
	if cfg.Port == 0 {
		cfg.Port = DefaultPort
	}
	if !cfg.IP4.IsValid() {
		cfg.IP4 = randomIP4()
	}
	if !cfg.IP6.IsValid() {
		cfg.IP6 = randomIP6()
	}
	if err := checkPlain("host", cfg.Host); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`# A server, made by mlvpn init-server. It holds a secret: keep its mode 0600.
# Clients have files in clients.d: see mlvpn add-client.
[general]
mode = "server"
private_key = "%s"
public_host = "%s"
ip4 = "%s"
ip6 = "%s"

[wan]
bindport = %d
`, crypto.GeneratePrivateKey().EncodeText(), cfg.Host, cfg.IP4, cfg.IP6, cfg.Port)
	return writeConfig(cfg.File, text)
}

// writeConfig writes a new configuration file, once it has been found to be good.
func writeConfig(file, text string) (*conf.Config, error) {
	c, warnings, err := conf.Parse(file, strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, errors.New(warnings[0].String())
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	return c, create(file, []byte(text))
}

// create writes a new file that only its owner can read.
func create(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and stays as it is: move it away first", file)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(file) // half of it is worse than nothing
	}
	return err
}

// checkPlain refuses what cannot stand between quotes in a configuration file, and could
// end the quotes and be a line of its own.
func checkPlain(what, s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' }) {
		return fmt.Errorf("%s %.80q: only printable ASCII without quotes is possible", what, s)
	}
	return nil
}

// randomIP4 returns the first address of a random network of 10.0.0.0/8 (RFC 1918). Two
// sites seldom choose the same, and home routers seldom have one of these.
func randomIP4() netip.Prefix {
	var b [2]byte
	rand.Read(b[:])
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, b[0], b[1], 1}), 24)
}

// randomIP6 returns the first address of a random unique local network (RFC 4193, section
// 3.2).
func randomIP6() netip.Prefix {
	a := [16]byte{0: 0xfd, 15: 1}
	rand.Read(a[1:6])
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// A server is a server's configuration with its clients.
type server struct {
	*conf.Config
	clients []*conf.ClientFile
}

func openServer(file string) (*server, error) {
	files, err := conf.Read(file)
	if err != nil {
		return nil, err
	}
	c, clients, _, err := files.Parse(conf.Options{})
	if err != nil {
		return nil, err
	}
	switch {
	case c.Mode != conf.Server:
		return nil, fmt.Errorf("%s is the configuration of a client: clients are added at the server", file)
	case c.PrivateKey == "":
		return nil, fmt.Errorf("%s has a password, which all clients share: for a client each, make a server with a key by mlvpn init-server", file)
	}
	return &server{c, clients}, nil
}

// A NewClient says what AddClient is to add.
type NewClient struct {
	Name string

	// Key is the client's public key. The zero key: AddClient makes one.
	Key crypto.PublicKey

	// Routes are the networks behind the client.
	Routes []netip.Prefix

	// Host is the server's address or name, instead of public_host.
	Host string
}

// AddClient writes the file of a new client and returns what the client needs. The
// server's configuration is in file. A private key that AddClient makes is in the result
// and nowhere else.
func AddClient(file string, n NewClient) (*Invite, error) {
	s, err := openServer(file)
	if err != nil {
		return nil, err
	}
	if !conf.ValidClientName(n.Name) {
		return nil, fmt.Errorf("client name %.80q: use letters, digits and . _ -, the first a letter or a digit, at most 64 of them", n.Name)
	}
	inv, err := s.invite(n)
	if err != nil {
		return nil, err
	}
	c := &conf.ClientFile{
		File: filepath.Join(s.ClientsPath(), n.Name), Name: n.Name,
		PublicKey: n.Key.EncodeText(), PresharedKey: inv.Preshared.EncodeText(),
	}
	if n.Key.IsZero() {
		c.PublicKey = inv.Client.Public().EncodeText()
	}
	for _, r := range n.Routes {
		if r.Addr().Is4() {
			c.IP4Routes = append(c.IP4Routes, r.Masked())
		} else {
			c.IP6Routes = append(c.IP6Routes, r.Masked())
		}
	}
	if err := s.giveAddresses(c); err != nil {
		return nil, err
	}
	for _, x := range s.clients {
		if x.Name == c.Name {
			return nil, fmt.Errorf("there is a client %s already: choose another name, or take it away by mlvpn remove-client %s", c.Name, c.Name)
		}
		if x.PublicKey == c.PublicKey {
			return nil, fmt.Errorf("client %s has this key already: each client needs its own", x.Name)
		}
	}
	if err := os.MkdirAll(s.ClientsPath(), 0o700); err != nil {
		return nil, err
	}
	return inv, create(c.File, c.Text())
}

// invite returns an invitation with new secrets.
func (s *server) invite(n NewClient) (*Invite, error) {
	own, err := crypto.ParsePrivateKey(s.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("%s: private_key in [general]: %w", s.File, err)
	}
	host := n.Host
	if host == "" {
		host = s.PublicHost
	}
	if host == "" {
		return nil, fmt.Errorf("where do clients reach this server? Name it with --host, or write public_host = \"...\" into [general] of %s", s.File)
	}
	if len(s.Network) > maxText || len(host) > maxText {
		return nil, fmt.Errorf("%s: network in [general], or the host, is longer than %d characters: shorten it", s.File, maxText)
	}
	inv := &Invite{Server: own.Public(), Preshared: crypto.GeneratePresharedKey(), Name: n.Name, Network: s.Network, Host: host}
	if n.Key.IsZero() {
		inv.Client = crypto.GeneratePrivateKey()
	}
	for _, l := range s.Links {
		if len(inv.Ports) < 255 {
			inv.Ports = append(inv.Ports, l.BindPort)
		}
	}
	return inv, nil
}

// giveAddresses gives a client the lowest addresses of the server's networks that no
// other has.
func (s *server) giveAddresses(c *conf.ClientFile) error {
	for _, x := range []struct {
		own  netip.Prefix
		addr func(*conf.ClientFile) *netip.Addr
	}{
		{s.IP4, func(c *conf.ClientFile) *netip.Addr { return &c.IP4 }},
		{s.IP6, func(c *conf.ClientFile) *netip.Addr { return &c.IP6 }},
	} {
		if !x.own.IsValid() {
			continue
		}
		pool := lease.New(x.own)
		for _, other := range s.clients {
			pool.Take(*x.addr(other))
		}
		free, ok := pool.Lowest()
		if !ok {
			return fmt.Errorf("%s has no address left for another client: remove one, or give the server a larger network", x.own.Masked())
		}
		*x.addr(c) = free.Addr()
	}
	return nil
}

// RemoveClient removes the file of a client.
func RemoveClient(file, name string) error {
	s, err := openServer(file)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range s.clients {
		if c.Name == name {
			return os.Remove(c.File)
		}
		names = append(names, c.Name)
	}
	return fmt.Errorf("there is no client %q: there are %s", name, orNone(names))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// ListClients returns the clients of the server whose configuration is in file, in the
// order of their names.
func ListClients(file string) ([]*conf.ClientFile, error) {
	s, err := openServer(file)
	if err != nil {
		return nil, err
	}
	conf.SortClients(s.clients)
	return s.clients, nil
}
