package conf

import (
	"fmt"
	"net/netip"
	"strings"
)

// render writes c as a file that parses to c again, apart from lines. It is written
// without the table of keys, so as to check that, too.
func render(c *Config) string {
	var b strings.Builder
	text := func(key, v string) {
		if v != "" {
			fmt.Fprintf(&b, "%s = \"%s\"\n", key, v)
		}
	}
	number := func(key string, v uint64) {
		if v != 0 {
			fmt.Fprintf(&b, "%s = %d\n", key, v)
		}
	}
	latency := func(ms int64) {
		if ms == 0 {
			ms = 1000
		}
		number("latency_tolerence", uint64(ms))
	}
	list := func(key string, v []netip.Prefix) {
		words := make([]string, len(v))
		for i, p := range v {
			words[i] = p.String()
		}
		text(key, strings.Join(words, " "))
	}
	b.WriteString("[general]\n")
	text("mode", string(c.Mode))
	text("statuscommand", c.StatusCommand)
	number("timeout", uint64(c.Timeout.Seconds()))
	text("interface_name", c.Interface)
	text("tuntap", string(c.Device))
	text("password", c.Password)
	text("private_key", c.PrivateKey)
	text("peer_key", c.PeerKey)
	text("preshared_key", c.PresharedKey)
	text("network", c.Network)
	text("clients_dir", c.ClientsDir)
	text("public_host", c.PublicHost)
	text("control_unix_path", c.ControlUnixPath)
	text("control_bind_host", c.ControlBindHost)
	number("control_bind_port", uint64(c.ControlBindPort))
	text("state_dir", c.StateDir)
	if c.Compat != "" {
		text("compat", c.Compat)
		number("compat_accept_risk", 1)
	}
	if c.ClearData {
		number("cleartext_data", 1)
	}
	if c.Scheduler != Adaptive {
		text("scheduler", string(c.Scheduler))
	}
	number("reorder_buffer_size", uint64(c.ReorderBuffer))
	fmt.Fprintf(&b, "loss_tolerence = %d\n", c.LossTolerance)
	latency(c.LatencyTolerance.Milliseconds())
	if c.IP4.IsValid() {
		text("ip4", c.IP4.String())
	}
	if c.IP6.IsValid() {
		text("ip6", c.IP6.String())
	}
	if c.IP4Gateway.IsValid() {
		text("ip4_gateway", c.IP4Gateway.String())
	}
	if c.IP6Gateway.IsValid() {
		text("ip6_gateway", c.IP6Gateway.String())
	}
	list("ip4_routes", c.IP4Routes)
	list("ip4_local", c.IP4Local)
	list("ip6_local", c.IP6Local)
	list("ip4_remote", c.IP4Remote)
	list("ip6_remote", c.IP6Remote)
	list("ip6_routes", c.IP6Routes)
	number("mtu", uint64(c.MTU))
	renderRouting(&b, &c.Routing)
	for _, l := range c.Links {
		fmt.Fprintf(&b, "[%s]\n", l.Name)
		if l.Gateway4.IsValid() {
			text("gateway", l.Gateway4.String())
		}
		if l.Gateway6.IsValid() {
			text("gateway6", l.Gateway6.String())
		}
		number("weight", uint64(l.Weight))
		text("bindhost", l.BindHost)
		number("bindport", uint64(l.BindPort))
		number("bindfib", uint64(l.BindFIB))
		text("binddev", l.BindDev)
		text("remotehost", l.RemoteHost)
		number("remoteport", uint64(l.RemotePort))
		number("bandwidth_upload", l.BandwidthUpload)
		number("bandwidth_download", l.BandwidthDownload)
		if l.Transport != UDP {
			text("transport", string(l.Transport))
		}
		text("tls_certificate", l.TLSCertificate)
		text("tls_key", l.TLSKey)
		text("tls_name", l.TLSName)
		if l.WebSocketPath != "/" {
			text("websocket_path", l.WebSocketPath)
		}
		if l.WebSocketPlain {
			b.WriteString("websocket_tls = 0\n")
		}
		number("cost", uint64(l.Cost))
		if l.Overflow {
			b.WriteString("overflow = 1\n")
		}
		number("quota_day", l.QuotaDay)
		number("quota_month", l.QuotaMonth)
		if l.QuotaMonth != 0 {
			number("quota_reset_day", uint64(l.QuotaResetDay))
		}
		if l.FallbackOnly {
			b.WriteString("fallback_only = 1\n")
		}
		number("timeout", uint64(l.Timeout.Seconds()))
		fmt.Fprintf(&b, "loss_tolerence = %d\n", l.LossTolerance)
		latency(l.LatencyTolerance.Milliseconds())
	}
	if len(c.Filters) > 0 {
		b.WriteString("[filters]\n")
	}
	for _, f := range c.Filters {
		text(f.Link, f.Expression)
	}
	return b.String()
}

// renderRouting writes the keys of [general] that concern the host's network, where they
// are not at their defaults.
func renderRouting(b *strings.Builder, r *Routing) {
	flag := func(key string, v, usual bool) {
		if v != usual {
			fmt.Fprintf(b, "%s = %d\n", key, map[bool]int{true: 1}[v])
		}
	}
	list := func(key string, v []netip.Prefix) {
		if len(v) > 0 {
			fmt.Fprintf(b, "%s = \"%s\"\n", key, strings.Trim(fmt.Sprint(v), "[]"))
		}
	}
	flag("manage_network", r.Manage, false)
	if r.Direct {
		b.WriteString("tunnel_down = \"direct\"\n")
	}
	flag("balance", r.Balance, false)
	list("ip4_lan", r.IP4Lan)
	list("ip6_lan", r.IP6Lan)
	list("ip4_direct_routes", r.IP4Direct)
	list("ip6_direct_routes", r.IP6Direct)
	if r.NAT != "none" {
		fmt.Fprintf(b, "nat = \"%s\"\n", r.NAT)
	}
	flag("mss_clamp", r.ClampMSS, true)
	flag("reply_routing", r.Reply, true)
	if len(r.ProbeTargets) > 0 {
		fmt.Fprintf(b, "probe_targets = \"%s\"\n", strings.Join(r.ProbeTargets, " "))
	}
	if r.ProbeInterval != 0 {
		fmt.Fprintf(b, "probe_interval = %d\n", r.ProbeInterval.Milliseconds())
	}
	if r.ProbeTimeout != 0 {
		fmt.Fprintf(b, "probe_timeout = %d\n", r.ProbeTimeout.Milliseconds())
	}
	flag("name_tables", r.NameTables, false)
}
