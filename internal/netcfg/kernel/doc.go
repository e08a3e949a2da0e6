// Package kernel looks at the host that it runs on and changes it as package netcfg
// plans: over netlink, nftables and /proc/sys, on Linux. Elsewhere every function returns
// an error that matches errors.ErrUnsupported.
package kernel
