package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
)

// newLogger returns the daemon's log, on standard error: who starts it decides where
// that goes.
func newLogger(details, quiet bool, name string) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case details:
		level = slog.LevelDebug
	case quiet:
		level = slog.LevelWarn
	}
	var h slog.Handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	if toJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		h = newJournalHandler(os.Stderr, level)
	}
	log := slog.New(h)
	if name != "" {
		log = log.With("name", name)
	}
	return log
}

// A journalHandler writes lines without a time, each with its priority in front, as
// sd-daemon(3) says: the journal keeps both itself.
type journalHandler struct {
	inner slog.Handler
	out   *journalWriter
}

type journalWriter struct {
	w io.Writer

	mu   sync.Mutex // guards the following
	line bytes.Buffer
}

func newJournalHandler(w io.Writer, level slog.Leveler) *journalHandler {
	out := &journalWriter{w: w}
	inner := slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	return &journalHandler{inner: inner, out: out}
}

func (h *journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	fmt.Fprintf(&h.out.line, "<%d>", priority(r.Level))
	if err := h.inner.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.line.Bytes())
	return err
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{inner: h.inner.WithAttrs(attrs), out: h.out}
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{inner: h.inner.WithGroup(name), out: h.out}
}

// priority returns the priority of syslog(3) for a level.
func priority(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}
