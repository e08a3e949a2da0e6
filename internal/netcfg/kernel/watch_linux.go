package kernel

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nftablesGroup is the multicast group of changes to nftables, NFNLGRP_NFTABLES.
const nftablesGroup = 7

// maxFailed is how often in a row nothing can be received before a socket is given up.
// The host is looked at now and then without news, too.
const maxFailed = 16

// Watch sends on the channel that it returns when anything changes on the host that a
// plan depends on, several changes at once as one, until ctx is done.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	changed := make(chan struct{}, 1)
	for _, s := range []struct {
		protocol int
		groups   []uint
	}{
		{unix.NETLINK_ROUTE, []uint{
			unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
			unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
		}},
		{unix.NETLINK_NETFILTER, []uint{nftablesGroup}},
	} {
		sock, err := nl.Subscribe(s.protocol, s.groups...)
		if err != nil {
			return nil, fmt.Errorf("watch the host's routes: %w", explain(err))
		}
		stop := context.AfterFunc(ctx, sock.Close)
		go func() {
			defer stop()
			for failed := 0; failed < maxFailed; {
				_, _, err := sock.Receive()
				if ctx.Err() != nil {
					return
				}
				// Too much at once is a change, too, and so is what cannot be parsed.
				failed++
				if err == nil || errors.Is(err, unix.ENOBUFS) {
					failed = 0
				}
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		}()
	}
	return changed, nil
}
