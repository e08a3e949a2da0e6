package mlvpn

import (
	"context"
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/tun"
)

// A floodDevice is a tun.Device whose host sends one packet again and again, numbered
// and in as many flows as it likes, and which counts what the tunnel delivers.
type floodDevice struct {
	template []byte
	flows    int
	credit   chan int // packets that the host may send
	closed   chan struct{}
	once     sync.Once

	left int    // of the credit; owned by Read
	next uint64 // number of the next packet; owned by Read

	mu       sync.Mutex // guards the following
	received uint64
	late     uint64 // packets of a flow that came after a later one of it
	highest  []uint64
	goal     uint64
	reached  chan struct{}
}

func newFloodDevice(fromClient bool, size, flows int) *floodDevice {
	return &floodDevice{
		template: udp(fromClient, 1000, 0, size),
		flows:    flows,
		credit:   make(chan int, 1),
		closed:   make(chan struct{}),
		highest:  make([]uint64, flows),
	}
}

func (d *floodDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for d.left == 0 {
		select {
		case d.left = <-d.credit:
		case <-d.closed:
			return 0, os.ErrClosed
		}
	}
	n := min(d.left, len(bufs))
	for i := range n {
		pkt := bufs[i][offset:]
		sizes[i] = copy(pkt, d.template)
		binary.BigEndian.PutUint16(pkt[20:], uint16(1000+int(d.next)%d.flows))
		binary.BigEndian.PutUint64(pkt[28:], d.next)
		d.next++
	}
	d.left -= n
	return n, nil
}

func (d *floodDevice) Write(bufs [][]byte, offset int) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, buf := range bufs {
		pkt := buf[offset:]
		flow, n := int(binary.BigEndian.Uint16(pkt[20:]))-1000, binary.BigEndian.Uint64(pkt[28:])
		if flow < 0 || flow >= len(d.highest) {
			continue
		}
		if n < d.highest[flow] {
			d.late++
		} else {
			d.highest[flow] = n
		}
		d.received++
	}
	if d.reached != nil && d.received >= d.goal {
		close(d.reached)
		d.reached = nil
	}
	return len(bufs), nil
}

// expect returns a channel that is closed once n more packets have been delivered.
func (d *floodDevice) expect(n int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.goal = d.received + uint64(n)
	d.reached = make(chan struct{})
	return d.reached
}

func (d *floodDevice) counts() (received, late uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.received, d.late
}

func (d *floodDevice) MTU() (int, error)     { return 1420, nil }
func (d *floodDevice) Name() (string, error) { return "flood", nil }
func (d *floodDevice) BatchSize() int        { return 128 }

func (d *floodDevice) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

var _ tun.Device = (*floodDevice)(nil)

// A duct is a client and a server that run in real time over links in memory.
type duct struct {
	client     *Client
	server     *Server
	cdev, sdev *floodDevice
}

// newDuct starts a pair and waits until all links are up.
func newDuct(t testing.TB, links, size, flows int) *duct {
	t.Helper()
	d := &duct{cdev: newFloodDevice(true, size, flows), sdev: newFloodDevice(false, size, flows)}
	serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
	up := make(chan struct{}, 2*links)
	var err error
	d.server, err = NewServer(ServerConfig{
		Config:  Config{NewScheduler: weighted, Device: d.sdev, Key: serverKey},
		Clients: []Peer{{Name: "alice", Key: clientKey.Public()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.client, err = NewClient(ClientConfig{
		Config: Config{NewScheduler: weighted, Device: d.cdev, Key: clientKey, OnEvent: func(ev Event) {
			if ev.Kind == LinkUp {
				up <- struct{}{}
			}
		}},
		Server: serverKey.Public(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range links {
		ln, sock := newMemPair(4096)
		name := string(rune('a' + i))
		if _, err := d.client.AddLink(ln, LinkConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
		if err := d.server.AddSocket(sock, LinkConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.server.Run(ctx) })
	running.Go(func() { d.client.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for range links {
		select {
		case <-up:
		case <-time.After(10 * time.Second):
			t.Fatal("the links do not come up")
		}
	}
	return d
}

// carry sends n packets from the client's host in bursts that the queues can take,
// and returns how many arrived.
func (d *duct) carry(n int) int {
	const burst = 256
	arrived := 0
	for sent := 0; sent < n; {
		k := min(burst, n-sent)
		before, _ := d.sdev.counts()
		done := d.sdev.expect(k)
		d.cdev.credit <- k
		sent += k
		select {
		case <-done:
			arrived += k
		case <-time.After(2 * time.Second):
			after, _ := d.sdev.counts()
			arrived += int(after - before)
		}
	}
	return arrived
}

// The whole data path of a running pair, with its goroutines, does not allocate per
// packet.
func TestAllocsOfPair(t *testing.T) {
	for _, links := range []int{1, 4} {
		d := newDuct(t, links, 1400, 16)
		// Until the ledgers are full, packets under way take new buffers.
		if got := d.carry(160_000); got != 160_000 {
			t.Fatalf("%d links: %d of 160000 packets arrived", links, got)
		}
		const n = 40_000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d.carry(n)
		runtime.ReadMemStats(&after)
		// A burst costs the test itself a channel and a timer; probes and the
		// runtime some more.
		limit := uint64(n/256*8 + 1000)
		if got := after.Mallocs - before.Mallocs; got > limit {
			t.Errorf("%d links: %d allocations for %d packets, %d bytes", links, got, n, after.TotalAlloc-before.TotalAlloc)
		}
	}
}

// A bench is a client and a server whose goroutines do not run: their steps are driven
// directly, in one goroutine.
type bench struct {
	t          testing.TB
	client     *Client
	server     *Server
	cdev, sdev *floodDevice
	paths      []*pathState // of the client
	wires      []*memQueue  // from client to server
	socks      []*port
}

// newBench has a session with n paths that are up, made by a real handshake's secrets.
func newBench(t testing.TB, links, size, flows int) *bench {
	t.Helper()
	b := &bench{t: t, cdev: newFloodDevice(true, size, flows), sdev: newFloodDevice(false, size, flows)}
	serverKey, clientKey := crypto.GeneratePrivateKey(), crypto.GeneratePrivateKey()
	var err error
	b.server, err = NewServer(ServerConfig{Config: Config{Device: b.sdev, Key: serverKey, NewScheduler: weighted}})
	if err != nil {
		t.Fatal(err)
	}
	b.client, err = NewClient(ClientConfig{Config: Config{Device: b.cdev, Key: clientKey, NewScheduler: weighted}, Server: serverKey.Public()})
	if err != nil {
		t.Fatal(err)
	}
	csec, ssec := exchangeSecrets(t, clientKey, serverKey)
	now := time.Now()
	cs, ss := &b.client.e.sender, &b.server.e.sender
	cown, sown := cs.allocate(links), ss.allocate(links)
	aead := crypto.ChaCha20Poly1305
	if crypto.Supported()&crypto.AES256GCM.Bit() != 0 {
		aead = crypto.AES256GCM
	}
	cep := cs.newEpoch(now, b.client.session, csec, aead, cown, sown)
	sep := ss.newEpoch(now, &Session{e: b.server.e, peer: "alice"}, ssec, aead, sown, cown)
	cs.propose(now, b.client.session, cep)
	ss.propose(now, sep.session, sep)
	for i := range links {
		ln, sock := newMemPair(1 << 16)
		b.wires = append(b.wires, sock.in)
		b.socks = append(b.socks, &port{cfg: LinkConfig{Name: "x"}, sock: sock, traffic: newTraffic()})
		p := cs.path(cep, i)
		if err := cs.join(now, p, &port{cfg: LinkConfig{Name: string(rune('a' + i))}, link: ln, id: LinkID(i + 1), traffic: newTraffic()}, link.Addr{}); err != nil {
			t.Fatal(err)
		}
		p.tx.monitor.Answered(now)
		cs.noteState(now, p, "")
		b.paths = append(b.paths, p)
	}
	for _, e := range []*engine{b.client.e, b.server.e} {
		for _, call := range e.receiver.box.take(nil) {
			call(now)
		}
	}
	return b
}

// exchangeSecrets runs a handshake.
func exchangeSecrets(t testing.TB, client, server crypto.PrivateKey) (c, s *crypto.Secrets) {
	t.Helper()
	i, err := crypto.NewInitiator(crypto.HandshakeConfig{Key: client, Peer: server.Public()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := crypto.NewResponder(crypto.HandshakeConfig{Key: server})
	if err != nil {
		t.Fatal(err)
	}
	m1, err := i.Init(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Read(m1); err != nil {
		t.Fatal(err)
	}
	m2, s, err := r.Finish(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, c, err = i.Finish(m2); err != nil {
		t.Fatal(err)
	}
	return c, s
}

// driver drives a bench's two halves with batches that it uses again.
type driver struct {
	*bench
	in    *deviceBatch
	back  chan *deviceBatch
	out   *portBatch
	freed chan *portBatch
}

func newDriver(b *bench) *driver {
	d := &driver{bench: b, back: make(chan *deviceBatch, 1), freed: make(chan *portBatch, 1)}
	d.in = b.client.e.newDeviceBatch(64, d.back)
	d.out = b.server.e.newPortBatch(nil, d.freed)
	return d
}

// send takes n packets through ingest, transmit and flush.
func (d *driver) send(n int) {
	now := time.Now()
	d.cdev.left = n
	d.in.n, _ = d.cdev.Read(d.in.bufs[:n], d.in.sizes, tun.Headroom)
	s := &d.client.e.sender
	s.ingest(d.in)
	<-d.back
	for _, ses := range s.work {
		ses.tx.working = false
		s.transmit(now, ses)
		s.reschedule(now, ses)
	}
	s.work = s.work[:0]
	s.flush(now)
}

// receive takes one batch of what has been sent on each path through process and
// deliver.
func (d *driver) receive() {
	now := time.Now()
	r := &d.server.e.receiver
	for i, q := range d.wires {
		if q.len() == 0 {
			continue
		}
		d.out.port = d.socks[i]
		d.out.n, _ = q.take(d.out.bufs, d.out.sizes, d.out.from)
		r.process(now, d.out)
	}
	r.deliver()
	d.server.e.sender.box.take(nil)
	r.tell = r.tell[:0]
}

// receiveAll does so until nothing is left.
func (d *driver) receiveAll() {
	for _, q := range d.wires {
		for q.len() > 0 {
			d.receive()
		}
	}
}

func TestAllocs(t *testing.T) {
	for _, x := range []struct {
		name               string
		links, size, flows int
	}{
		{"one link", 1, 1400, 1},
		{"four links", 4, 1400, 16},
		{"small packets", 1, 64, 16},
	} {
		d := newDriver(newBench(t, x.links, x.size, x.flows))
		const runs = 160 // of 64 packets
		for range 4 {
			for range runs + 1 { // pools reach their size
				d.send(64)
			}
			d.receiveAll()
		}
		before, _ := d.sdev.counts()
		if n := testing.AllocsPerRun(runs, func() { d.send(64) }); n > 0 {
			t.Errorf("%s: sending allocates %g times for 64 packets", x.name, n)
		}
		if n := testing.AllocsPerRun(runs/x.links, d.receive); n > 0 {
			t.Errorf("%s: receiving allocates %g times for %d packets", x.name, n, 64*x.links)
		}
		d.receiveAll()
		if after, _ := d.sdev.counts(); after-before != (runs+1)*64 {
			t.Errorf("%s: %d of %d packets arrived", x.name, after-before, (runs+1)*64)
		}
	}
}

// Garbage is dropped without an allocation, but for the state of the hash that
// verifies the mac1 of what looks like an INIT.
func TestAllocsOfGarbage(t *testing.T) {
	d := newDriver(newBench(t, 1, 1400, 1))
	d.send(1)
	d.receive()
	r := &d.server.e.receiver
	garbage := [][]byte{
		nil,
		make([]byte, 7),
		append([]byte{0, 0, 0, 0, 1, 1, 0, 0}, make([]byte, 300)...), // INIT with a wrong mac1
		append([]byte{0, 0, 0, 0, 9, 9, 9, 9}, make([]byte, 300)...),
		append([]byte{1, 2, 3, 4, 0, 0, 0, 0}, make([]byte, 300)...), // another index
	}
	for index := range r.paths {
		own := make([]byte, 300)
		binary.BigEndian.PutUint32(own, index)
		own[7] = 200
		garbage = append(garbage, own)
	}
	b := d.out
	b.port = d.socks[0]
	b.n = len(garbage)
	fill := func() {
		for i, g := range garbage {
			b.sizes[i] = copy(b.bufs[i], g)
			b.from[i] = link.Addr{Remote: netip.MustParseAddrPort("192.0.2.66:666")}
		}
	}
	r.count.refusedLog = time.Now()
	if n := testing.AllocsPerRun(100, func() {
		fill()
		r.process(time.Now(), b)
	}); n > 2 {
		t.Errorf("%g allocations for %d datagrams of garbage", n, len(garbage))
	}
}
