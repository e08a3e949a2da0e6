// Package wsconn carries a byte stream over WebSocket (RFC 6455), which passes through
// proxies and firewalls that let nothing but the web through.
package wsconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// A Target says what to dial.
type Target struct {
	// Host is the name, and the port if it is not the usual one, of the Host header.
	Host string

	// Path is the path of the URL, with the leading slash.
	Path string

	// TLS, if not nil, has TLS go below WebSocket.
	TLS *tls.Config

	// Dial opens the connection below. Required.
	Dial func(ctx context.Context) (net.Conn, error)
}

// Dial opens a stream to a server. ctx bounds the time that it takes.
func Dial(ctx context.Context, t Target) (net.Conn, error) {
	u := url.URL{Scheme: "ws", Host: t.Host, Path: t.Path}
	if t.TLS != nil {
		u.Scheme = "wss"
	}
	var below net.Conn
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := t.Dial(ctx)
			below = c
			return c, err
		},
		TLSClientConfig:   t.TLS,
		DisableKeepAlives: true,
	}
	ws, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("websocket: the server answers %s: check websocket_path and the port: %w", resp.Status, err)
		}
		return nil, fmt.Errorf("websocket: %w", err)
	}
	return newConn(ws, below.LocalAddr(), below.RemoteAddr()), nil
}

// A conn is one stream. It names its two ends, and closes at once.
type conn struct {
	net.Conn
	ws            *websocket.Conn
	local, remote net.Addr
}

func newConn(ws *websocket.Conn, local, remote net.Addr) *conn {
	ws.SetReadLimit(-1) // it is a stream: the length of a message means nothing
	return &conn{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws: ws, local: local, remote: remote}
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Close does not wait for the peer to agree.
func (c *conn) Close() error { return c.ws.CloseNow() }

const (
	// headerTime is how long a client may take for its request.
	headerTime = 5 * time.Second
	// maxHeader is the size of the largest header, in bytes.
	maxHeader = 8 << 10
	// maxRequests is how many connections may be busy with their request at once.
	maxRequests = 64
)

// A listener accepts the streams that clients open.
type listener struct {
	below    net.Listener
	http     *http.Server
	accepted chan net.Conn
	done     chan struct{}
	once     sync.Once
	serving  sync.WaitGroup
	requests atomic.Int32
	err      atomic.Pointer[error] // why serving has ended
}

// Listen accepts streams for one path. It takes l over: a listener of TCP or TLS.
// Requests for anything else get the answer 404. One goroutine serves, and one for each
// request.
func Listen(l net.Listener, path string) net.Listener {
	ln := &listener{below: l, accepted: make(chan net.Conn), done: make(chan struct{})}
	ln.http = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ln.serve(w, r, path) }),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       headerTime,
		MaxHeaderBytes:    maxHeader,
		ConnState:         ln.count,
	}
	ln.serving.Go(func() {
		err := ln.http.Serve(l)
		ln.err.Store(&err)
		ln.end()
	})
	return ln
}

// count closes connections that are too many.
func (l *listener) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if l.requests.Add(1) > maxRequests {
			c.Close()
		}
	case http.StateHijacked, http.StateClosed:
		l.requests.Add(-1)
	}
}

func (l *listener) serve(w http.ResponseWriter, r *http.Request, path string) {
	if r.URL.Path != path {
		http.NotFound(w, r)
		return
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	// Who opens the stream proves nothing here, and no browser holds a key: the origin
	// does not matter.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // the client has been answered
	}
	remote := net.Addr(&net.TCPAddr{})
	if a, err := net.ResolveTCPAddr("tcp", r.RemoteAddr); err == nil {
		remote = a
	}
	c := newConn(ws, local, remote)
	select {
	case l.accepted <- c:
	case <-l.done:
		c.Close()
	}
}

func (l *listener) end() { l.once.Do(func() { close(l.done) }) }

// Accept returns the next stream.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.done:
		if err := l.err.Load(); err != nil && !errors.Is(*err, http.ErrServerClosed) {
			return nil, *err
		}
		return nil, net.ErrClosed
	}
}

// Close ends the listener. Streams live on.
func (l *listener) Close() error {
	l.end()
	err := l.http.Close()
	l.serving.Wait()
	return err
}

func (l *listener) Addr() net.Addr { return l.below.Addr() }
