package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/multilink-vpn/multilink/internal/netcfg"
	"github.com/multilink-vpn/multilink/internal/netlab"
)

// TestPlanOnHost makes a plan for lines of both families true on a host, sees that it is
// as planned, and takes all of it away.
func TestPlanOnHost(t *testing.T) {
	netlab.Require(t)
	host := netlab.NewHosts(t, "h")["h"]
	err := host.Do(func() error {
		// Link-local addresses, which nothing here needs, would come at any time.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0o644); err != nil {
			return err
		}
		for k := 1; k <= 2; k++ {
			dev := fmt.Sprintf("eth%d", k)
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: dev}, PeerName: "peer" + dev}); err != nil {
				return err
			}
			for _, name := range []string{"peer" + dev, dev} {
				l, err := netlink.LinkByName(name)
				if err != nil {
					return err
				}
				if err := netlink.LinkSetUp(l); err != nil {
					return err
				}
			}
			l, err := netlink.LinkByName(dev)
			if err != nil {
				return err
			}
			for _, p := range []string{fmt.Sprintf("198.18.%d.2/24", k), fmt.Sprintf("2001:db8:%d::2/64", k)} {
				a, err := netlink.ParseAddr(p)
				if err != nil {
					return err
				}
				a.Flags = 0x02 // IFA_F_NODAD
				if err := netlink.AddrAdd(l, a); err != nil {
					return err
				}
			}
		}
		if err := waitUp(4); err != nil {
			return err
		}
		return roundTrip()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waitUp waits until so many interfaces are up, which takes the kernel a moment.
func waitUp(count int) error {
	for range 200 {
		h, err := Observe()
		if err != nil {
			return err
		}
		up := 0
		for _, i := range h.Interfaces {
			if i.Up {
				up++
			}
		}
		if up >= count {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("the interfaces do not come up")
}

// roundTrip applies plans, one after the other, and undoes the last.
func roundTrip() error {
	c := &netcfg.Config{
		Instance: "test-0", Balance: true, Reply: true, Forward4: true, Forward6: true, ClampMSS: true, NAT: "eth2",
		Tunnel: &netcfg.Tunnel{Device: "eth2", Routes: []netip.Prefix{netcfg.V4.Any(), netip.MustParsePrefix("2001:db8:9::/48")}, Block: true},
		Direct: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:7::/48")},
	}
	for k := 1; k <= 2; k++ {
		c.Lines = append(c.Lines, netcfg.LineConfig{
			Name: fmt.Sprint("line", k), Device: fmt.Sprint("eth", k), Weight: k,
			Gateway4: netip.AddrFrom4([4]byte{198, 18, byte(k), 1}),
			Gateway6: netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", k)),
		})
	}
	servers := []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8:9::5")}
	states := []netcfg.State{
		{Servers: servers},
		{TunnelUp: true, Servers: servers},
		{TunnelUp: true, Dead: map[netcfg.LineKey]bool{{Name: "line1", Family: netcfg.V4}: true, {Name: "line2", Family: netcfg.V6}: true}},
	}
	have := &netcfg.Installed{}
	before, err := Observe()
	if err != nil {
		return err
	}
	var a *netcfg.Allocation
	for i := range states {
		h, err := Observe()
		if err != nil {
			return err
		}
		without := h.Without(have)
		if a, err = netcfg.Allocate(c, without, a); err != nil {
			return err
		}
		if have, err = change(netcfg.Compute(c, &states[i], without, a), have, h); err != nil {
			return fmt.Errorf("state %d: %w", i, err)
		}
	}
	h, err := Observe()
	if err != nil {
		return err
	}
	if _, err = change(&netcfg.Plan{}, have, h); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	after, err := Observe()
	if err != nil {
		return err
	}
	if a, b := fmt.Sprint(after), fmt.Sprint(before); a != b {
		return fmt.Errorf("after\n%s\nbefore\n%s", a, b)
	}
	return nil
}

// change makes the host as planned, and wants nothing to be left to do.
func change(p *netcfg.Plan, have *netcfg.Installed, h *netcfg.Host) (*netcfg.Installed, error) {
	changes, next := netcfg.Diff(p, have, h)
	if changes.Empty() {
		return nil, fmt.Errorf("nothing to do")
	}
	if err := Apply(changes); err != nil {
		return nil, err
	}
	h, err := Observe()
	if err != nil {
		return nil, err
	}
	if left, _ := netcfg.Diff(p, next, h); !left.Empty() {
		return nil, fmt.Errorf("left to do:\n%s", left.Commands())
	}
	return next, nil
}
