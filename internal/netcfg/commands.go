package netcfg

import (
	"fmt"
	"strings"
)

// Commands returns the changes as a shell script of ip(8), sysctl(8) and nft(8) that
// would make them.
func (c *Changes) Commands() string {
	var b strings.Builder
	for _, s := range c.SetSysctls {
		fmt.Fprintf(&b, "sysctl -w %s=%s\n", strings.ReplaceAll(s.Name, "/", "."), s.Value)
	}
	for _, r := range c.AddRoutes {
		fmt.Fprintf(&b, "ip -%d route replace %s proto %d\n", r.Family, r, Protocol)
	}
	if n := c.SetNFT; n != nil {
		fmt.Fprintf(&b, "nft -f - <<'END'\ntable inet %s\ndelete table inet %s\n%sEND\n", n.Name, n.Name, n)
	}
	for _, r := range c.AddRules {
		fmt.Fprintf(&b, "ip -%d rule add %s protocol %d\n", r.Family, r, Protocol)
	}
	for _, r := range c.DelRules {
		fmt.Fprintf(&b, "ip -%d rule del %s protocol %d\n", r.Family, r, Protocol)
	}
	if c.DelNFT != "" {
		fmt.Fprintf(&b, "nft delete table inet %s\n", c.DelNFT)
	}
	for _, r := range c.DelRoutes {
		fmt.Fprintf(&b, "ip -%d route del %s proto %d\n", r.Family, r, Protocol)
	}
	for _, f := range c.Write {
		fmt.Fprintf(&b, "cat > %s <<'END'\n%sEND\n", f.Path, f.Content)
	}
	for _, f := range c.Remove {
		fmt.Fprintf(&b, "rm -f %s\n", f)
	}
	return b.String()
}
