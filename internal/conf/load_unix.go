//go:build unix

package conf

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openConfig does not wait for a writer when path is a FIFO.
func openConfig(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func checkOwner(path string, fi fs.FileInfo) error {
	if err := checkUser(path, fi); err != nil {
		return err
	}
	if perm := fi.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("config %s is open to other users (mode %04o) and holds a secret: run chmod 600 %s", path, perm, shellWord(path))
	}
	return nil
}

// checkDirectory makes sure that nobody else can put files into a directory.
func checkDirectory(path string, fi fs.FileInfo) error {
	if err := checkUser(path, fi); err != nil {
		return err
	}
	if perm := fi.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("config %s can be written by other users (mode %04o), who could let themselves in: run chmod 700 %s", path, perm, shellWord(path))
	}
	return nil
}

func checkUser(path string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("config %s: the system does not tell its owner", path)
	}
	if uid := os.Geteuid(); st.Uid != 0 && int(st.Uid) != uid {
		return fmt.Errorf("config %s belongs to uid %d: run chown %d %s", path, st.Uid, uid, shellWord(path))
	}
	return nil
}
