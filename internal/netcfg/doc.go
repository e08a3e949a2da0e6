// Package netcfg says how the routing of a host must be for a configuration: a table and
// rules for each line, routes into the tunnel that do not cut it off, balancing over the
// lines that work, address translation, and what keeps packets from leaving beside the
// tunnel.
//
// It is pure: [Compute] makes a [Plan] of a [Config], of the [State] of tunnel and lines,
// and of what was seen of the [Host]; [Diff] says what has to change. Package kernel
// looks at hosts and changes them, package manage keeps them as planned.
//
// # Order of the rules
//
// For each address family, from the first to the last, those that are needed:
//
//	+0  from LINE to SERVER    the line's table: the tunnel's own packets
//	+1  fwmark LINE            the line's table: a connection stays on its line
//	+2  to SERVER              the lines' table, where a tunnel route covers the server
//	+3  DNS of the daemon to a line's resolver  main
//	+4  DNS to a line's resolver, tunnel down   refused
//	+5  all, no default route  main: what is connected and what the user routes
//	+6  from LINE, oif LINE    the line's table
//	+7  to SERVER, DNS of the daemon            the lines' table
//	+8  to what is excluded from the tunnel     the lines' table
//	+9  all                    the tunnel's table: its default route, or a refusal
//	+10 all                    the lines' table: balancing
//
// What is left finds the host's own rules, which come later.
package netcfg
