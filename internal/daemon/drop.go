package daemon

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/privdrop"
)

// lowPort is the first port that needs no privilege.
const lowPort = 1024

// dropPrivileges becomes the user, and keeps what the links need to be opened again: a
// mark for bindfib, and on a server ports that only root may have.
func dropPrivileges(c *conf.Config, opts Options) error {
	keep := keptCaps(c)
	err := privdrop.Drop(opts.User, keep...)
	if errors.Is(err, errors.ErrUnsupported) && len(keep) > 0 {
		if slices.Contains(keep, privdrop.NetAdmin) {
			return fmt.Errorf("bindfib needs CAP_NET_ADMIN also after --user: %w", err)
		}
		opts.Log.Warn("a reload will not be able to open ports below 1024", "err", err)
		keep, err = nil, privdrop.Drop(opts.User)
	}
	if err != nil {
		return err
	}
	opts.Log.Info("running without privileges", "user", opts.User, "kept capabilities", len(keep))
	return nil
}

func keptCaps(c *conf.Config) (keep []privdrop.Cap) {
	if runtime.GOOS != "linux" {
		return nil
	}
	if slices.ContainsFunc(c.Links, func(l conf.Link) bool { return l.BindFIB != 0 }) {
		keep = append(keep, privdrop.NetAdmin)
	}
	if slices.ContainsFunc(c.Links, func(l conf.Link) bool { return l.BindPort != 0 && l.BindPort < lowPort }) {
		keep = append(keep, privdrop.NetBindService)
	}
	return keep
}
