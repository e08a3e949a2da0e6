package setup

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
)

// A Line is an internet line of a client.
type Line struct {
	Interface string
	// Bind says to bind the link to the interface.
	Bind bool
	// Addr, if valid, is the address to send from: where a socket cannot be bound to an
	// interface, or routing goes by the source.
	Addr netip.Addr
}

// Join writes the configuration of a client that has been invited: one link for each
// line. key is the client's own private key; the zero key: that in the invitation.
func Join(file string, inv *Invite, key crypto.PrivateKey, lines []Line) (*conf.Config, error) {
	if len(lines) == 0 {
		return nil, errors.New("no internet line was found: connect one, or name the interfaces with --line")
	}
	switch {
	case key.IsZero() && inv.Client.IsZero():
		return nil, errors.New("the invitation has no private key, since the client has made its own: name its file with --key")
	case key.IsZero():
		key = inv.Client
	case !inv.Client.IsZero():
		return nil, errors.New("the invitation has a private key already: leave --key out")
	}
	if err := errors.Join(checkPlain("host", inv.Host), checkPlain("network", inv.Network)); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# A client, made by mlvpn join. It holds a secret: keep its mode 0600.
# The server gives it its addresses inside the tunnel.
[general]
mode = "client"
private_key = "%s"
peer_key = "%s"
`, key.EncodeText(), inv.Server)
	if !inv.Preshared.IsZero() {
		fmt.Fprintf(&b, "preshared_key = \"%s\"\n", inv.Preshared.EncodeText())
	}
	if inv.Network != "" {
		fmt.Fprintf(&b, "network = \"%s\"\n", inv.Network)
	}
	for i, l := range lines {
		if err := checkPlain("interface", l.Interface); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n[%s]\n", sectionName(l.Interface))
		if l.Addr.IsValid() {
			fmt.Fprintf(&b, "bindhost = \"%s\"\n", l.Addr)
		}
		if l.Bind {
			fmt.Fprintf(&b, "binddev = \"%s\"\n", l.Interface)
		}
		fmt.Fprintf(&b, "remotehost = \"%s\"\nremoteport = %d\n", inv.Host, inv.Ports[i%len(inv.Ports)])
	}
	return writeConfig(file, b.String())
}

// sectionName returns the name of a line's section. A file has other sections of its own.
func sectionName(iface string) string {
	if iface == "general" || iface == "filters" {
		return "line-" + iface
	}
	return iface
}
