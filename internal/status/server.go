package status

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	maxClients = 16              // connections to each listener at once
	maxRequest = 64 << 10        // bytes of one request
	idleTime   = 5 * time.Second // without a request
	answerTime = 10 * time.Second
)

// A Server answers requests for the state.
type Server struct {
	// State returns the state now. It may be called concurrently. Required.
	State func() *Document

	// Names are what requests over TCP may call this host, besides localhost and any
	// address.
	Names []string

	// Log receives what goes wrong. Required.
	Log *slog.Logger
}

// Serve answers requests over HTTP until ctx is done, and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) {
	s.serveHTTP(ctx, limit(l), s.checkHost(s.handler()))
}

func (s *Server) serveHTTP(ctx context.Context, l net.Listener, h http.Handler) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: idleTime,
		ReadTimeout:       idleTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxRequest,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		s.Log.Error("the status is not served any more", "at", l.Addr().String(), "err", err)
	}
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		s.writeStatus(w)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		WriteMetrics(w, s.State())
	})
	return mux
}

func (s *Server) writeStatus(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s.State())
}

// checkHost refuses requests that name the host by a name which is none of its own: a
// web page can have its own name lead to this host.
func (s *Server) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ours(r.Host) {
			http.Error(w, "this host is not called that: use its address or localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if _, err := netip.ParseAddr(name); err == nil || strings.EqualFold(name, "localhost") {
		return true
	}
	for _, own := range s.Names {
		if strings.EqualFold(name, own) {
			return true
		}
	}
	return false
}

// ServeUnix answers MLVPN's commands, status, metrics and quit, one on each line, and
// requests over HTTP, until ctx is done, and closes l.
func (s *Server) ServeUnix(ctx context.Context, l net.Listener) {
	web := &handover{addr: l.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { s.serveHTTP(ctx, web, s.handler()) })
	l = limit(l)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			s.Log.Warn("accepting a request for the status failed", "err", err)
			time.Sleep(time.Second)
			continue
		}
		running.Go(func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			s.converse(c, web)
		})
	}
	web.Close()
	running.Wait()
}

// converse answers the commands on one connection, or hands it over.
func (s *Server) converse(c net.Conn, web *handover) {
	c.SetDeadline(time.Now().Add(idleTime))
	r := bufio.NewReader(io.LimitReader(c, maxRequest))
	if start, _ := r.Peek(4); bytes.Equal(start, []byte("GET ")) || bytes.Equal(start, []byte("HEAD")) {
		web.give(&readConn{Conn: c, r: r})
		return
	}
	defer c.Close()
	for {
		line, err := r.ReadString('\n')
		command := strings.ToLower(strings.TrimSpace(line))
		c.SetDeadline(time.Now().Add(idleTime))
		switch command {
		case "status":
			err = errors.Join(err, s.writeStatus(c))
		case "metrics":
			err = errors.Join(err, WriteMetrics(c, s.State()))
		case "quit":
			io.WriteString(c, "bye.\n")
			return
		case "":
		default:
			_, werr := fmt.Fprintln(c, `{"error": "unknown command"}`)
			err = errors.Join(err, werr)
		}
		if err != nil {
			return
		}
	}
}

// A readConn has had a part of it read into a buffer.
type readConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// A handover is a listener of connections that another one has accepted.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (h *handover) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }

// limit has a listener close connections beyond maxClients at once.
func limit(l net.Listener) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, maxClients)}
}

type limited struct {
	net.Listener
	free chan struct{} // one element for each connection
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.free })}, nil
		default:
			c.Close()
		}
	}
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
