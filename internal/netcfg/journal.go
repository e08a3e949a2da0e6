package netcfg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Journal remembers what we have changed on a host, so that it can be undone, by
// another process if need be. It is written before the first change.
type Journal struct {
	Boot       string // the kernel's boot: what an earlier one had is gone
	Allocation *Allocation
	Installed  Installed
}

// ReadJournal reads a journal. One that is not there, or of an earlier boot than the
// given one, is empty.
func ReadJournal(path, boot string) (*Journal, error) {
	j := &Journal{Boot: boot}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what an earlier start has changed: %w", err)
	}
	if err := json.Unmarshal(b, j); err != nil {
		return nil, fmt.Errorf("read what an earlier start has changed: %s: %w: remove the file once `ip rule` and `ip route show table all` show nothing with proto %d", path, err, Protocol)
	}
	if j.Boot != boot {
		return &Journal{Boot: boot}, nil
	}
	return j, nil
}

// Encode returns the journal as it is stored.
func (j *Journal) Encode() ([]byte, error) {
	b, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return b, nil
}

// WriteJournal stores an encoded journal, so that a crash leaves either the old one or
// the new one.
func WriteJournal(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
