// Package routing tests what the daemon does to a host's network, in networks of
// namespaces as users have them at home.
package routing
