//go:build !windows

package link

import "syscall"

const (
	errAddrNotAvail = syscall.EADDRNOTAVAIL
	errAddrInUse    = syscall.EADDRINUSE
	errNetUnreach   = syscall.ENETUNREACH
	errMsgSize      = syscall.EMSGSIZE
)
