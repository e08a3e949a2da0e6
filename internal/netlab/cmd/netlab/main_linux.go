// Netlab is the part of package netlab that runs in processes of its own.
//
//	netlab bridge            bridge interfaces as requests on standard input say
//	netlab exec NETNS CMD... run a command in a network namespace
//	netlab reap DIR          remove a directory when standard input ends
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/multilink-vpn/multilink/internal/netlab/netns"
	"github.com/multilink-vpn/multilink/internal/netlab/wan"
)

func main() {
	runtime.LockOSThread()
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "netlab:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "bridge":
		return bridge()
	case len(args) >= 3 && args[0] == "exec":
		if err := netns.Enter(netns.Path(args[1])); err != nil {
			return err
		}
		if err := unix.Exec(args[2], args[2:], os.Environ()); err != nil {
			return fmt.Errorf("execute %s: %w", args[2], err)
		}
	case len(args) == 2 && args[0] == "reap":
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return err
		}
		return os.RemoveAll(args[1])
	}
	return errors.New("usage: netlab bridge | exec NETNS CMD... | reap DIR")
}

// bridge runs until standard input ends, which happens also when the test process is
// killed, and then removes what the lab left behind.
func bridge() error {
	guard, err := wan.Serve(0, 1, netns.Do)
	for _, name := range guard {
		err = errors.Join(err, netns.Remove(name))
	}
	return err
}
