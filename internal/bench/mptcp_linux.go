package main

import (
	"errors"
	"fmt"

	"github.com/multilink-vpn/multilink/internal/netlab"
)

// maxSubflows is the kernel's limit.
const maxSubflows = 8

// enableMPTCP makes each line of the client, and the server's address on it, an endpoint
// of the kernel's MPTCP. A connection from the client's first line then gets a subflow
// by each of the others.
func (c *course) enableMPTCP() (undo func() error, err error) {
	undo = func() error {
		return errors.Join(ipMPTCP(c.lab.Client, "endpoint", "flush"), ipMPTCP(c.lab.Server, "endpoint", "flush"))
	}
	limit := fmt.Sprint(maxSubflows)
	errs := []error{
		ipMPTCP(c.lab.Client, "limits", "set", "subflows", limit, "add_addr_accepted", "0"),
		ipMPTCP(c.lab.Server, "limits", "set", "subflows", limit, "add_addr_accepted", "0"),
	}
	for k := range min(len(c.p.Lines), maxSubflows) {
		errs = append(errs,
			ipMPTCP(c.lab.Client, "endpoint", "add", c.lab.ClientAddr(k).String(), "dev", fmt.Sprintf("w%d", k+1), "subflow"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

func ipMPTCP(h *netlab.Host, args ...string) error {
	_, err := h.Run("ip", append([]string{"mptcp"}, args...)...)
	return err
}
