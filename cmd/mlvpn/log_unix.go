//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// toJournal reports whether what is written to f goes to the journal. JOURNAL_STREAM then
// has the device and the inode of the file (systemd.exec(5)).
func toJournal(f *os.File, stream string) bool {
	fi, err := f.Stat()
	if err != nil || stream == "" {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
