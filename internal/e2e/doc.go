// Package e2e tests the daemon from end to end: the real program on two hosts of a
// netlab, with real TUN devices and the kernel's TCP.
package e2e
