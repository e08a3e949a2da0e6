//go:build !race

package mlvpn

// raced: the race detector is on.
const raced = false
