package manage

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/multilink-vpn/multilink/internal/netcfg"
	"github.com/multilink-vpn/multilink/internal/netcfg/kernel"
)

// Show returns, as commands, what a start with these settings would change on the host,
// for a tunnel that is up.
func Show(s *Settings) (string, error) {
	if s.Network == nil {
		return "# manage_network is not set: nothing would be done\n", nil
	}
	j, err := netcfg.ReadJournal(JournalPath(s.Instance), kernel.Boot())
	if err != nil {
		return "", err
	}
	h, err := kernel.Observe(netcfg.NamesFile(s.Instance))
	if err != nil {
		return "", err
	}
	have := h.Without(&j.Installed)
	// The tunnel's interface comes with the daemon.
	if t := s.Network.Tunnel; t != nil && have.Interface(t.Device) == nil {
		have.Interfaces = append(slices.Clone(have.Interfaces), netcfg.Interface{Name: t.Device, Up: true, PointToPoint: true})
	}
	a, err := netcfg.Allocate(s.Network, have, j.Allocation)
	if err != nil {
		return "", err
	}
	p := netcfg.Compute(s.Network, &netcfg.State{TunnelUp: true, Servers: literal(s.Servers)}, have, a)
	var b strings.Builder
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "# %s: %s: %s\n", problem.Line, problem.Text, problem.Fix)
	}
	c, _ := netcfg.Diff(p, &j.Installed, h)
	if c.Empty() {
		b.WriteString("# the host is as it should be\n")
	}
	return b.String() + c.Commands(), nil
}

// Undo takes away what a daemon that has crashed has left on the host.
func Undo(instance string, log *slog.Logger) error {
	path := JournalPath(instance)
	unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()
	k, err := NewKeeper(Kernel{}, path, log)
	if err != nil {
		return err
	}
	return k.Undo()
}
