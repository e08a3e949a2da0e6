package wsconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listen(tcp, "/tunnel")
	t.Cleanup(func() { l.Close() })
	return l
}

func target(l net.Listener, path string) Target {
	return Target{Host: "www.example.org", Path: path, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}}
}

func TestStream(t *testing.T) {
	l := listen(t)
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	echoed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			echoed <- err
			return
		}
		defer c.Close()
		if c.RemoteAddr().(*net.TCPAddr).Port == 0 {
			t.Error("the server does not know the client's address")
		}
		_, err = io.CopyN(c, c, int64(len(sent)))
		echoed <- err
	}()
	c, err := Dial(t.Context(), target(l, "/tunnel"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("remote address %v, want %v", c.RemoteAddr(), l.Addr())
	}
	go c.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("the echo differs: %v", err)
	}
	if err := <-echoed; err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	l := listen(t)
	if _, err := Dial(t.Context(), target(l, "/other")); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("another path: %v", err)
	}
	resp, err := http.Get("http://" + l.Addr().String() + "/tunnel")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode < 400 {
		t.Errorf("a plain request is answered with %s", resp.Status)
	}
}

func TestClose(t *testing.T) {
	l := listen(t)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v, want one that matches net.ErrClosed", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := Dial(ctx, target(l, "/tunnel")); err == nil {
		t.Error("a closed listener accepts")
	}
}

// TestTooMany opens more connections than are served at once, and lets them be silent.
func TestTooMany(t *testing.T) {
	l := listen(t)
	var conns []net.Conn
	for range maxRequests + 8 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	closed := 0
	for _, c := range conns[maxRequests:] {
		c.SetReadDeadline(time.Now().Add(headerTime / 2))
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				closed++
			}
		}
	}
	if closed != 8 {
		t.Errorf("%d of the 8 connections too many were closed", closed)
	}
}
