//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows

package link

import "errors"

const msgTrunc = 0 // not reported

func setUDPOptions(_ uintptr, _ bool, cfg *UDPConfig) error {
	if cfg.Interface != "" || cfg.Mark != 0 {
		return errors.New("this system can neither bind a socket to an interface nor mark packets")
	}
	return nil
}
