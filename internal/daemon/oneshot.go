package daemon

import (
	"log/slog"
	"os"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/netcfg/manage"
)

// ShowNetwork returns, as commands, what manage_network would do to the host now.
func ShowNetwork(path string) (string, error) {
	c, err := parseFile(path)
	if err != nil {
		return "", err
	}
	s, err := networkSettings(c, uint32(os.Geteuid()))
	if err != nil {
		return "", err
	}
	return manage.Show(s)
}

// UndoNetwork takes away what a daemon that has crashed has left on the host.
func UndoNetwork(path string, log *slog.Logger) error {
	c, err := parseFile(path)
	if err != nil {
		return err
	}
	return manage.Undo(c.Interface, log)
}

func parseFile(path string) (*conf.Config, error) {
	files, err := conf.Read(path)
	if err != nil {
		return nil, err
	}
	c, _, _, err := files.Parse(conf.Options{})
	return c, err
}
