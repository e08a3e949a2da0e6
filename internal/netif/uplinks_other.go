//go:build !linux

package netif

// defaultRoutes knows no routes: an address is all there is to go by.
func defaultRoutes() (map[int]defaultRoute, error) { return nil, nil }
