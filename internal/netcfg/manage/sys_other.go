//go:build !linux

package manage

import (
	"errors"
	"syscall"
)

func lock(string) (func(), error) { return nil, errors.ErrUnsupported }

func setMark(syscall.RawConn, uint32) error { return errors.ErrUnsupported }
