//go:build unix

package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
)

func TestJournalHandler(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newJournalHandler(&b, slog.LevelDebug)).With("name", "x")
	log.Error("broken", "link", "dsl")
	log.Warn("odd")
	log.Info("fine")
	log.Debug("detail")
	want := "<3>msg=broken name=x link=dsl\n<4>msg=odd name=x\n<6>msg=fine name=x\n<7>msg=detail name=x\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestToJournal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	if !toJournal(f, fmt.Sprintf("%d:%d", st.Dev, st.Ino)) {
		t.Error("a file that is the journal is not known")
	}
	for _, other := range []string{"", "1:1", "nonsense"} {
		if toJournal(f, other) {
			t.Errorf("another file is taken for the journal %q", other)
		}
	}
}
