package link

import "golang.org/x/sys/windows"

const (
	errAddrNotAvail = windows.WSAEADDRNOTAVAIL
	errAddrInUse    = windows.WSAEADDRINUSE
	errNetUnreach   = windows.WSAENETUNREACH
	errMsgSize      = windows.WSAEMSGSIZE
)
