package simnet

import (
	"fmt"
	"time"
)

// A Config says what to run.
type Config struct {
	Profile Profile
	Tunnel  Tunnel
	Flows   []Flow

	// Duration is how long to run. It must be positive.
	Duration time.Duration

	// Warmup is how much of it comes before anything is measured.
	Warmup time.Duration

	// PingEvery is the time between two echo requests from the client. 0 is 50 ms,
	// negative is no ping.
	PingEvery time.Duration

	// Seed is behind all that is random.
	Seed uint64

	// ServerClock is how the server's clock differs from the client's. A tunnel must not
	// compare the times of its two ends.
	ServerClock Clock
}

// Run runs a simulation. It fails if the Config makes no sense, and if the tunnel damages
// packets or never comes to rest.
func Run(c Config) (*Result, error) {
	if c.Duration <= c.Warmup {
		return nil, fmt.Errorf("simnet: Config.Duration is %v; it must be longer than Warmup, %v", c.Duration, c.Warmup)
	}
	r := &run{config: c}
	for side := range sides {
		r.hosts[side] = newHost(c, side)
	}
	var err error
	r.network, err = NewNetwork(NetworkConfig{
		Profile:     c.Profile,
		Tunnel:      c.Tunnel,
		Seed:        c.Seed,
		ServerClock: c.ServerClock,
		Deliver:     func(side int, pkt []byte) { r.hosts[side].deliver(r.now, pkt) },
	})
	if err != nil {
		return nil, err
	}
	if err := r.loop(); err != nil {
		return nil, fmt.Errorf("simnet: %s over %s: %w", c.Tunnel.Name, c.Profile.Name, err)
	}
	return r.result(), nil
}

// run is a simulation in progress.
type run struct {
	config  Config
	now     time.Duration
	network *Network
	hosts   [sides]*host
}

// loop lets things happen, in order of time; at the same time in a fixed order.
func (r *run) loop() error {
	for {
		next := r.network.Next()
		for _, h := range r.hosts {
			next = min(next, h.next)
		}
		r.now = max(r.now, next)
		if r.now > r.config.Duration {
			return nil
		}
		if err := r.network.Advance(r.now); err != nil {
			return err
		}
		for _, h := range r.hosts {
			if h.next <= r.now {
				h.work(r.now, r.network)
			}
			if h.err != nil {
				return h.err
			}
		}
	}
}
