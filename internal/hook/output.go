package hook

import (
	"bytes"
	"log/slog"
	"strings"
)

// A lineLogger logs what is written to it line by line, up to a number of bytes. It
// accepts and discards the rest, so that the writer is not stopped by it.
type lineLogger struct {
	log  *slog.Logger
	left int    // bytes that may still be logged
	part []byte // an unfinished line
	cut  bool   // bytes were discarded
}

// Write never fails. It copies p.
func (w *lineLogger) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > w.left {
		p, w.cut = p[:w.left], true
	}
	w.left -= len(p)
	w.part = append(w.part, p...)
	for {
		line, rest, found := bytes.Cut(w.part, []byte("\n"))
		if !found {
			return n, nil
		}
		w.line(line)
		w.part = rest
	}
}

func (w *lineLogger) line(line []byte) {
	if text := strings.TrimRight(string(line), " \t\r"); text != "" {
		w.log.Info("status command output", "line", text)
	}
}

// finish logs the last, unfinished line.
func (w *lineLogger) finish() {
	w.line(w.part)
	w.part = nil
	if w.cut {
		w.log.Warn("status command output is longer than the limit, the rest is not logged", "limit", maxOutput)
	}
}
