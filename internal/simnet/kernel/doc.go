// Package kernel puts the network of a simulation between two real hosts, in real time:
// what package simnet says of a tunnel under models of TCP can be compared with what the
// kernel's TCP gets through the same ends and lines. It needs root, network namespaces
// and TUN devices, and is empty where there are none.
package kernel
