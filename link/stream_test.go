package link_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilink-vpn/multilink/link"
)

// recorder is a stream that records its writes, each of which waits for a token.
type recorder struct {
	tokens chan struct{}
	closed chan struct{}
	once   sync.Once
	writes [][]byte
}

func newRecorder() *recorder {
	return &recorder{tokens: make(chan struct{}, 100), closed: make(chan struct{})}
}

func (r *recorder) Read([]byte) (int, error) { <-r.closed; return 0, io.EOF }
func (r *recorder) Close() error             { r.once.Do(func() { close(r.closed) }); return nil }

func (r *recorder) Write(b []byte) (int, error) {
	select {
	case <-r.tokens:
		r.writes = append(r.writes, bytes.Clone(b))
		return len(b), nil
	case <-r.closed:
		return 0, io.ErrClosedPipe
	}
}

func TestStreamQueue(t *testing.T) { synctest.Test(t, testStreamQueue) }

func testStreamQueue(t *testing.T) {
	r := newRecorder()
	s := link.NewStream(r, link.StreamConfig{MTU: 100, Queue: 1020})
	defer s.Close()
	pkt := bytes.Repeat([]byte("x"), 100)
	pkts := [][]byte{pkt, pkt, pkt, pkt, pkt, pkt, pkt, pkt, pkt, pkt, pkt}

	if n, err := s.Send(pkts[:1]); n != 1 {
		t.Fatal(err)
	}
	synctest.Wait() // the first is being written
	if n, err := s.Send(pkts); n != 9 || err != link.ErrFull {
		t.Errorf("Send to a queue with room for 9 took %d: %v", n, err)
	}
	r.tokens <- struct{}{}
	synctest.Wait()
	if n, err := s.Send(pkts[:2]); n != 1 || err != link.ErrFull {
		t.Errorf("Send to a queue with room for 1 took %d: %v", n, err)
	}
	r.tokens <- struct{}{}
	r.tokens <- struct{}{}
	synctest.Wait()
	var sizes []int
	for _, w := range r.writes {
		sizes = append(sizes, len(w))
	}
	if want := []int{102, 918, 102}; fmt.Sprint(sizes) != fmt.Sprint(want) {
		t.Errorf("writes of %v bytes, want %v", sizes, want)
	}
	if !bytes.HasPrefix(r.writes[0], []byte("\x00\x64xx")) {
		t.Errorf("the frame begins with %q", r.writes[0][:4])
	}
}

// What the peer does must end the link or be passed over, and never block or panic.
func TestStreamInput(t *testing.T) { synctest.Test(t, testStreamInput) }

func testStreamInput(t *testing.T) {
	for _, tc := range []struct {
		name  string
		input string
		want  []string
		err   error
	}{
		{"clean end", "\x00\x02hi", []string{"hi"}, io.EOF},
		{"empty datagram", "\x00\x00\x00\x02hi", []string{"", "hi"}, io.EOF},
		{"end in a header", "\x00\x02hi\x00", []string{"hi"}, io.ErrUnexpectedEOF},
		{"end in a frame", "\x00\x02h", nil, io.ErrUnexpectedEOF},
		{"longer than the buffer", "\x00\x0bhello world\x00\x02hi", []string{"hi"}, io.EOF},
		{"longer than the MTU", "\x00\x02hi\x00\x15aaaaaaaaaaaaaaaaaaaaa", []string{"hi"}, io.EOF},
	} {
		for _, chunk := range []int{1, 3, 100} {
			a, b := net.Pipe()
			s := link.NewStream(b, link.StreamConfig{MTU: 20})
			go func() {
				for in := []byte(tc.input); len(in) > 0; {
					n, err := a.Write(in[:min(chunk, len(in))])
					if err != nil {
						break
					}
					in = in[n:]
				}
				a.Close()
			}()
			var got []string
			bufs, sizes := [][]byte{make([]byte, 10), make([]byte, 10)}, make([]int, 2)
			var err error
			for err == nil {
				var n int
				n, err = s.Receive(bufs, sizes)
				for i := range n {
					got = append(got, string(bufs[i][:sizes[i]]))
				}
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tc.want) {
				t.Errorf("%s: received %q, want %q", tc.name, got, tc.want)
			}
			if !errors.Is(err, tc.err) || !errors.Is(err, io.EOF) {
				t.Errorf("%s: error %v, want %v", tc.name, err, tc.err)
			}
			if _, err := s.Send([][]byte{[]byte("x")}); !errors.Is(err, io.EOF) {
				t.Errorf("%s: Send after the end: %v", tc.name, err)
			}
			s.Close()
			a.Close()
		}
	}
}

func TestStreamListenerClose(t *testing.T) {
	tl, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := link.NewStreamListener(tl, link.StreamConfig{})
	done := make(chan error, 1)
	go func() { _, err := l.Accept(); done <- err }()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Close has not unblocked Accept")
	}
}

func TestStreamAllocs(t *testing.T) {
	a, b := tcpPair(link.StreamConfig{})(t)
	defer a.Close()
	defer b.Close()
	pkts := [][]byte{make([]byte, 1000), make([]byte, 1000)}
	bufs, sizes := [][]byte{make([]byte, 1500), make([]byte, 1500)}, make([]int, 2)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := a.Send(pkts); err != nil {
			t.Error(err)
		}
		for got := 0; got < len(pkts); {
			n, err := b.Receive(bufs, sizes)
			if err != nil {
				t.Error(err)
				return
			}
			got += n
		}
	}); n != 0 {
		t.Errorf("a batch makes %v allocations", n)
	}
}

// FuzzStream feeds a stream arbitrary bytes.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x02hi\xff\xff"))
	f.Fuzz(func(t *testing.T, input []byte) {
		s := link.NewStream(&reader{bytes.NewReader(input)}, link.StreamConfig{MTU: 100})
		defer s.Close()
		bufs, sizes := [][]byte{make([]byte, 50), make([]byte, 100)}, make([]int, 2)
		for total := 0; ; {
			n, err := s.Receive(bufs, sizes)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				return
			}
			for _, size := range sizes[:n] {
				total += 2 + size
			}
			if n == 0 || total > len(input) {
				t.Fatalf("%d datagrams, %d bytes of %d", n, total, len(input))
			}
		}
	})
}

type reader struct{ *bytes.Reader }

func (reader) Write(b []byte) (int, error) { return len(b), nil }
func (reader) Close() error                { return nil }

func ExampleNewStream() {
	c1, c2 := net.Pipe() // or a TCP connection, a TLS connection, a serial line
	a := link.NewStream(c1, link.StreamConfig{})
	b := link.NewStream(c2, link.StreamConfig{})
	defer a.Close()
	defer b.Close()

	if _, err := a.Send([][]byte{[]byte("hello")}); err != nil {
		fmt.Println(err)
		return
	}
	bufs, sizes := [][]byte{make([]byte, b.MTU())}, make([]int, 1)
	if _, err := b.Receive(bufs, sizes); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", bufs[0][:sizes[0]])
	// Output: hello
}

func ExampleNewPacketConn() {
	c1, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	c2, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	a := link.NewPacketConn(c1, c2.LocalAddr(), 1400)
	b := link.NewPacketConn(c2, c1.LocalAddr(), 1400)
	defer a.Close()
	defer b.Close()

	n, err := a.Send([][]byte{make([]byte, 1400), make([]byte, 1401)})
	fmt.Println(n, err)
	// Output: 1 link: datagram too large
}
