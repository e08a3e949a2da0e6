package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
)

// A rekeyAttempt is a client's handshake within a session.
type rekeyAttempt struct {
	number    uint32
	initiator *crypto.Initiator // nil while the worker has it
	noise     []byte            // first message, nil while the worker makes it
	own       []uint32
	started   time.Time
}

// beginRekey has the worker make a first message.
func (s *sender) beginRekey(now time.Time, ep *epoch) {
	cfg, err := s.e.side.rekeying(ep.session)
	if err != nil {
		return // unreachable on a client
	}
	cfg.Renews = ep.tx.keys.secrets.Binding()
	r := &ep.tx.rekey
	r.last++
	a := &rekeyAttempt{number: r.last, own: s.allocate(len(ep.tx.paths)), started: now}
	hello := wire.Params{AEADs: crypto.Supported(), Indices: a.own}
	r.attempt, r.asked = a, false
	begun := s.offload(func() func(time.Time) {
		initiator, err := crypto.NewInitiator(cfg)
		var noise []byte
		if err == nil {
			noise, err = initiator.Init(nil, hello.Append(nil))
		}
		return func(now time.Time) {
			if r.attempt != a { // the epoch has ended
				if initiator != nil {
					initiator.Wipe()
				}
				return
			}
			if err != nil {
				s.e.log.Error("cannot start to replace the session's keys", "err", err)
				s.abandon(ep)
				r.due = now.Add(rekeyRetry).Add(s.sleptSince(ep.tx.keys))
				return
			}
			a.initiator, a.noise = initiator, noise
			s.sendRekey(now, ep)
		}
	})
	if !begun { // the worker is busy
		s.abandon(ep)
		r.due = now.Add(rekeyRetry).Add(s.sleptSince(ep.tx.keys))
	}
}

// sendRekey sends the first message, and again until it is answered.
func (s *sender) sendRekey(now time.Time, ep *epoch) {
	r := &ep.tx.rekey
	s.rekeyControl(now, ep, wire.Rekey{Kind: wire.RekeyInit, Epoch: r.attempt.number, Noise: r.attempt.noise})
	r.next = now.Add(rekeyRetry)
	s.timers.set(ep.session, now) // so that next is heeded
}

// abandon gives up a client's attempt.
func (s *sender) abandon(ep *epoch) {
	a := ep.tx.rekey.attempt
	if a == nil {
		return
	}
	ep.tx.rekey.attempt = nil
	s.release(a.own)
	if a.initiator != nil {
		a.initiator.Wipe()
	}
}

// finishRekey has the worker read the server's answer.
func (s *sender) finishRekey(ep *epoch, f wire.Rekey) {
	a := ep.tx.rekey.attempt
	if a == nil || a.number != f.Epoch || a.initiator == nil {
		return
	}
	initiator := a.initiator
	a.initiator = nil
	begun := s.offload(func() func(time.Time) {
		k, err := readRekey(initiator, f, a.own)
		return func(now time.Time) { s.conclude(now, ep, a, initiator, k, err) }
	})
	if !begun {
		a.initiator = initiator
	}
}

// readRekey is the end of the initiator's side. The worker runs it.
func readRekey(initiator *crypto.Initiator, f wire.Rekey, own []uint32) (*keys, error) {
	payload, secrets, err := initiator.Finish(f.Noise)
	if err != nil {
		return nil, err
	}
	p, err := wire.ParseParams(payload)
	if err == nil && len(p.Indices) != len(own) {
		err = errIndices
	}
	var aead crypto.AEAD
	if err == nil {
		aead, err = crypto.Chosen(p.AEADs, crypto.Supported())
	}
	if err != nil {
		secrets.Wipe()
		return nil, err
	}
	return &keys{number: f.Epoch, secrets: secrets, aead: aead, own: own, peer: p.Indices}, nil
}

// conclude begins to use the keys that a client's attempt has led to.
func (s *sender) conclude(now time.Time, ep *epoch, a *rekeyAttempt, initiator *crypto.Initiator, k *keys, err error) {
	if ep.tx.rekey.attempt != a { // the epoch has ended, and the indices with it
		initiator.Wipe()
		if k != nil {
			k.secrets.Wipe()
		}
		return
	}
	if err != nil {
		s.e.log.Warn("the server's answer to new keys makes no sense", "err", err)
		a.initiator = initiator
		return
	}
	ep.tx.rekey.attempt = nil
	s.date(now, k)
	s.e.receiver.box.put(func(time.Time) { s.e.receiver.accept(ep, k) })
	s.switchKeys(now, ep, k)
	for _, p := range ep.tx.active {
		p.tx.monitor.ProbeNow(now) // something must tell the server that it may use them
	}
	s.timers.set(ep.session, now)
}
