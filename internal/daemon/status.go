package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/privdrop"
	"github.com/multilink-vpn/multilink/internal/status"
	"github.com/multilink-vpn/multilink/link"
	"github.com/multilink-vpn/multilink/mlvpn"
)

// measured is a tunnel that can be asked for its state.
type measured interface {
	Stats() mlvpn.Stats
	Traffic() []mlvpn.PortTraffic
}

// control is where the daemon can be asked for its state.
type control struct{ unix, http net.Listener }

// openControl opens what the configuration asks for. The Unix socket is for the account
// that the daemon will run as.
func openControl(c *conf.Config, account string) (ctl control, err error) {
	if c.ControlUnixPath != "" {
		var uid, gid int
		if account != "" {
			u, err := privdrop.Lookup(account)
			if err != nil {
				return ctl, err
			}
			uid, gid = u.UID, u.GID
		}
		if ctl.unix, err = status.ListenUnix(c.ControlUnixPath, uid, gid); err != nil {
			return ctl, err
		}
	}
	if c.ControlBindPort != 0 {
		addr, err := resolve(context.Background(), c.ControlBindHost)
		if err == nil {
			ctl.http, err = link.ListenTCP(link.TCPConfig{Local: netip.AddrPortFrom(addr, c.ControlBindPort)})
		}
		if err != nil {
			ctl.close()
			return ctl, fmt.Errorf("control_bind_host: %w", err)
		}
	}
	return ctl, nil
}

func (c *control) close() {
	if c.unix != nil {
		c.unix.Close()
	}
	if c.http != nil {
		c.http.Close()
	}
}

// serve answers until ctx is done.
func (c *control) serve(ctx context.Context, s *status.Server, background *sync.WaitGroup) {
	if c.unix != nil {
		background.Go(func() { s.ServeUnix(ctx, c.unix) })
	}
	if c.http != nil {
		background.Go(func() { s.Serve(ctx, c.http) })
	}
}

// A monitor knows the state of the daemon: from events, and by asking the tunnel.
type monitor struct {
	opts   Options
	tunnel measured
	quotas *quotas // nil without one
	start  time.Time
	show   func(title string) // what ps(1) and the service manager show

	mu         sync.Mutex // guards the following
	conf       *conf.Config
	states     map[linkKey]mlvpn.EventKind
	downs      map[linkKey]uint64
	reloads    int
	lastReload time.Time
}

func newMonitor(c *conf.Config, opts Options, show func(string)) *monitor {
	return &monitor{
		opts: opts, start: time.Now(), show: show, conf: c,
		states: make(map[linkKey]mlvpn.EventKind), downs: make(map[linkKey]uint64),
	}
}

// handle takes note of an event.
func (m *monitor) handle(ev mlvpn.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := linkKey{ev.Peer, ev.Link}
	switch ev.Kind {
	case mlvpn.LinkUp, mlvpn.LinkDegraded:
		m.states[key] = ev.Kind
	case mlvpn.LinkDown:
		delete(m.states, key)
		m.downs[key]++
	default:
		return
	}
	m.showLocked()
}

// showLocked shows the state of the links in the title of the process.
func (m *monitor) showLocked() {
	var links []status.Tunnel
	for _, l := range m.conf.Links {
		links = append(links, status.Tunnel{Name: l.Name, Status: status.LinkDown})
		for key, kind := range m.states {
			if key.link == l.Name {
				links = append(links, status.Tunnel{Name: l.Name, Status: map[mlvpn.EventKind]string{
					mlvpn.LinkUp: status.LinkUp, mlvpn.LinkDegraded: status.LinkSlow,
				}[kind]})
			}
		}
	}
	m.show(status.Title(links))
}

// prepare implements part: the monitor shows what is in force.
func (m *monitor) prepare(_, new *settings) (func() string, func(), error) {
	return func() string {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.conf, m.lastReload = new.conf, time.Now()
		m.reloads++
		for key := range m.downs {
			if findLink(new.conf, key.link) == nil {
				delete(m.downs, key)
			}
		}
		m.showLocked()
		return ""
	}, nil, nil
}

// document returns the state now.
func (m *monitor) document() *status.Document {
	st, traffic := m.tunnel.Stats(), m.tunnel.Traffic()
	m.mu.Lock()
	defer m.mu.Unlock()
	d := &status.Document{
		Name:          cmp.Or(m.opts.Name, "mlvpn"),
		Version:       m.opts.Version,
		Uptime:        m.start.Unix(),
		PID:           os.Getpid(),
		Tuntap:        status.Tuntap{Type: string(m.conf.Device), Name: m.conf.Interface},
		Tunnels:       []status.Tunnel{},
		Mode:          string(m.conf.Mode),
		Config:        m.conf.File,
		Reloads:       m.reloads,
		UptimeSeconds: int64(time.Since(m.start).Seconds()),
		Sessions:      []status.Session{},
	}
	if !m.lastReload.IsZero() {
		d.LastReload = m.lastReload.Unix()
	}
	for i := range st.Sessions {
		s := &st.Sessions[i]
		d.Sessions = append(d.Sessions, sessionStatus(s))
	}
	for i := range m.conf.Links {
		d.Tunnels = append(d.Tunnels, m.tunnelsLocked(&m.conf.Links[i], &st, traffic)...)
	}
	if detail, err := json.Marshal(st); err == nil {
		d.Detail = detail
	}
	return d
}

// tunnelsLocked returns the entries of one section: one for each session that has the
// link, or one if none has.
func (m *monitor) tunnelsLocked(l *conf.Link, st *mlvpn.Stats, traffic []mlvpn.PortTraffic) (list []status.Tunnel) {
	blank := status.Tunnel{
		Name:      l.Name,
		Mode:      string(m.conf.Mode),
		BindAddr:  cmp.Or(l.BindHost, "any"),
		BindPort:  cmp.Or(portText(l.BindPort), "any"),
		DestAddr:  l.RemoteHost,
		DestPort:  portText(l.RemotePort),
		Status:    status.LinkDown,
		Bandwidth: l.BandwidthUpload,
		Timeout:   uint64(l.Timeout.Seconds()),
		Transport: string(l.Transport),
		Cost:      l.Cost,
		Fallback:  l.FallbackOnly,
		Overflow:  l.Overflow,
	}
	if m.quotas != nil {
		blank.Quota = m.quotas.of(l.Name)
	}
	for i := range st.Sessions {
		s := &st.Sessions[i]
		for j := range s.Links {
			if x := &s.Links[j]; x.Name == l.Name {
				list = append(list, m.tunnelLocked(blank, l, s.Peer, x))
			}
		}
	}
	if len(list) == 0 {
		blank.Disconnects = m.downs[linkKey{link: l.Name}]
		list = append(list, blank)
	}
	if m.conf.Mode == conf.Client {
		for _, p := range traffic { // which counts on over handshakes
			if p.Name == l.Name {
				t := &list[0]
				t.SentPackets, t.SentBytes, t.RecvPackets, t.RecvBytes = p.SentPackets, p.SentBytes, p.ReceivedPackets, p.ReceivedBytes
			}
		}
	}
	return list
}

func (m *monitor) tunnelLocked(t status.Tunnel, l *conf.Link, peer string, x *mlvpn.LinkStats) status.Tunnel {
	t.Peer = peer
	t.Status = linkStatus(l, x)
	if x.Remote.Remote.IsValid() {
		t.DestAddr, t.DestPort = x.Remote.Remote.Addr().String(), portText(x.Remote.Remote.Port())
	}
	t.SentPackets, t.SentBytes = x.SentPackets, x.SentBytes
	t.RecvPackets, t.RecvBytes = x.ReceivedPackets, x.ReceivedBytes
	t.Bandwidth = x.Bandwidth
	t.SRTT = uint64(x.RTT.Round(time.Millisecond).Milliseconds())
	t.Loss = uint64(x.Loss*100 + 0.5)
	t.Disconnects = m.downs[linkKey{peer, x.Name}]
	if !x.LastReceived.IsZero() {
		t.LastPacket = x.LastReceived.Unix()
	}
	t.MTU, t.RTT, t.LossRatio = x.MTU, x.RTT.Seconds(), x.Loss
	t.SendRate, t.ReceiveRate = x.SendRate, x.ReceiveRate
	t.Fallback = x.Fallback
	t.Measured = measuredStatus(x)
	return t
}

// linkStatus says in MLVPN's words how a link is.
func linkStatus(l *conf.Link, x *mlvpn.LinkStats) string {
	switch {
	case x.State == mlvpn.LinkIsUp:
		return status.LinkUp
	case x.State == mlvpn.LinkIsDegraded && l.LossTolerance < 100 && x.Loss*100 > float64(l.LossTolerance)/2:
		return status.LinkLossy
	case x.State == mlvpn.LinkIsDegraded:
		return status.LinkSlow
	case x.State == mlvpn.LinkProbing:
		return status.LinkWaiting
	}
	return status.LinkDown
}

// portText is the port in decimal, or empty for none.
func portText(port uint16) string {
	if port == 0 {
		return ""
	}
	return strconv.Itoa(int(port))
}

// statusServer answers for the monitor.
func (m *monitor) statusServer(log *slog.Logger) *status.Server {
	var names []string
	if host := m.conf.ControlBindHost; host != "" {
		names = append(names, host)
	}
	return &status.Server{State: m.document, Names: names, Log: log}
}
