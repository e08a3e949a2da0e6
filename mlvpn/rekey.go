package mlvpn

import (
	"slices"
	"time"

	"github.com/multilink-vpn/multilink/internal/path"
	"github.com/multilink-vpn/multilink/internal/wire"
)

const (
	// rekeyAfter is how old keys get, more or less a tenth, before the client replaces
	// them, unless it is configured otherwise, and rekeyPackets how many packets one of
	// them protects. A client that does not know either is asked to some time later.
	rekeyAfter   = 2 * time.Minute
	rekeyPackets = 1 << 24
	// rejectAfter is the age from which on keys are not used any more, come what may.
	rejectAfter = 3 * time.Minute
	// keepReplaced is for how long what was sent under replaced keys is still received.
	keepReplaced = 10 * time.Second
	// maxReplaced bounds the sets of replaced keys.
	maxReplaced = 16
	// rekeyRetry is the pause before a REKEY is repeated, and rekeyFor for how long that is
	// done before another takes its place.
	rekeyRetry = time.Second
	rekeyFor   = 5 * time.Second
	// rekeyPause is how long a server rests after it has answered one.
	rekeyPause = 500 * time.Millisecond
)

// rekeying is the state of the replacement of an epoch's keys, owned by the sender.
type rekeying struct {
	last uint32    // highest number that keys were proposed with
	due  time.Time // when keys are to be replaced for their age, the host's sleep aside
	next time.Time // when something is to be sent, or sent again

	// On a client.
	attempt *rekeyAttempt
	asked   bool // the server wants other keys

	// On a server.
	request []byte // Noise message of number last
	answer  []byte // and the one that answers it, nil until it is there
}

// replacedKeys are received under for a while.
type replacedKeys struct {
	*keys
	expires time.Time
}

// age returns how old keys are, by a clock that the host's sleep does not stop.
func (s *sender) age(now time.Time, k *keys) time.Duration {
	return now.Sub(k.born) + s.slept - k.slept
}

// watchSleep notes how long the host has been suspended. After a sleep all paths are
// probed at once: who knows where the host woke up.
func (s *sender) watchSleep(now time.Time) {
	if now.Sub(s.sleptAt) < 100*time.Millisecond {
		return
	}
	s.sleptAt = now
	was := s.slept
	if s.slept = s.e.suspended(); s.slept-was < 2*time.Second {
		return
	}
	s.e.log.Info("the host was suspended", "for", s.slept-was)
	for ses := range s.sessions {
		for _, ep := range ses.tx.epochs() {
			for _, p := range ep.tx.active {
				p.tx.monitor.ProbeNow(now)
			}
		}
		s.timers.set(ses, now)
	}
}

// tooOld reports whether the session's keys must not be used any more.
func (s *sender) tooOld(now time.Time, ses *Session) bool {
	ep := ses.tx.current
	return ep != nil && ses.legacy == nil && s.age(now, ep.tx.keys) >= rejectAfter
}

// renewKeys does what is due for the replacement of a session's keys.
func (s *sender) renewKeys(now time.Time, ses *Session) {
	ep := ses.tx.current
	if ep == nil || ses.legacy != nil {
		return
	}
	for len(ep.tx.replaced) > 0 && !now.Before(ep.tx.replaced[0].expires) {
		s.forgetReplaced(ep)
	}
	if ep.tx.up == 0 {
		return
	}
	r := &ep.tx.rekey
	if s.e.expects == wire.KindInit {
		s.askForKeys(now, ep)
		return
	}
	if a := r.attempt; a != nil && now.Sub(a.started) >= rekeyFor && a.initiator != nil {
		s.abandon(ep)
	}
	switch {
	case r.attempt != nil:
		if r.attempt.noise != nil && !now.Before(r.next) {
			s.sendRekey(now, ep)
		}
	case r.asked || !now.Before(r.due.Add(-s.sleptSince(ep.tx.keys))) || ep.worn(s.e.rekeyPackets):
		s.beginRekey(now, ep)
	}
}

func (s *sender) sleptSince(k *keys) time.Duration { return s.slept - k.slept }

// worn reports whether a key in use has protected so many packets.
func (ep *epoch) worn(limit uint64) bool {
	return slices.ContainsFunc(ep.tx.active, func(p *pathState) bool { return p.tx.seal.worn(limit) })
}

// rekeyControl sends a REKEY frame on each path that works: one is enough, and any may
// lose it.
func (s *sender) rekeyControl(now time.Time, ep *epoch, f wire.Rekey) {
	c := control{has: hasRekey, rekey: f}
	for _, p := range ep.tx.active {
		if st := p.tx.monitor.State(); st == path.Up || st == path.Suspect {
			s.control(now, p, &c)
		}
	}
}

// rekeyed is told of a REKEY frame of the peer.
func (s *sender) rekeyed(now time.Time, p *pathState, f wire.Rekey) {
	if p.epoch != p.epoch.session.tx.current || p.tx.monitor == nil {
		return
	}
	server := s.e.expects == wire.KindInit
	switch {
	case f.Kind == wire.RekeyInit && server:
		s.answerRekey(now, p, f)
	case f.Kind == wire.RekeyResponse && !server:
		s.finishRekey(p.epoch, f)
	case f.Kind == wire.RekeyPlease && !server:
		if f.Epoch == p.epoch.tx.keys.number && p.epoch.tx.rekey.attempt == nil {
			p.epoch.tx.rekey.asked = true
			s.timers.set(p.epoch.session, now)
		}
	}
}

// proved is told that the peer has used keys for the first time.
func (s *sender) proved(now time.Time, ep *epoch, k *keys) {
	if k == ep.tx.offered {
		ep.tx.offered, ep.tx.rekey.request, ep.tx.rekey.answer = nil, nil, nil
		s.switchKeys(now, ep, k)
	}
	if k != ep.tx.keys {
		return
	}
	// From now on nothing is sent under older keys any more, by either end.
	for i := range ep.tx.replaced {
		if x := &ep.tx.replaced[i]; x.expires.After(now.Add(keepReplaced)) {
			x.expires = now.Add(keepReplaced)
		}
	}
	s.timers.set(ep.session, now)
}

// date notes when keys were made, and on a client when they are due.
func (s *sender) date(now time.Time, k *keys) { k.born, k.slept = now, s.slept }

// switchKeys has everything sent under other keys from now on. Packet numbers, paths and
// what waits on them are left alone.
func (s *sender) switchKeys(now time.Time, ep *epoch, k *keys) {
	was := ep.tx.keys
	ep.tx.keys = k
	ep.session.tx.count.rekeys++
	for _, p := range ep.tx.paths {
		if p == nil || p.tx.seal == nil {
			continue
		}
		seal, err := p.newSealer(k)
		if err != nil { // unreachable: the secrets are fresh
			s.exhausted(now, p, err)
			continue
		}
		if old, ok := p.tx.seal.(*ml1Sealer); ok {
			old.seal.Wipe()
		}
		p.tx.seal = seal
	}
	if len(ep.tx.replaced) == maxReplaced {
		s.forgetReplaced(ep)
	}
	ep.tx.replaced = append(ep.tx.replaced, replacedKeys{was, now.Add(rejectAfter)})
	s.schedule(now, ep)
}

// schedule sets when the keys in use are to be replaced.
func (s *sender) schedule(now time.Time, ep *epoch) {
	after := s.e.cfg.rekeyAfter()
	spread := after / 10
	ep.tx.rekey.due = now.Add(after - spread + time.Duration(s.rng.Uint64()%uint64(2*spread+1)))
}

// forgetReplaced forgets the oldest replaced keys.
func (s *sender) forgetReplaced(ep *epoch) {
	s.retire(ep.tx.replaced[0].keys)
	ep.tx.replaced = slices.Delete(ep.tx.replaced, 0, 1)
}

// retire forgets keys of an epoch that goes on.
func (s *sender) retire(k *keys) {
	s.release(k.own)
	s.e.receiver.box.put(func(time.Time) { s.e.receiver.retire(k) })
}

// nextRekey returns when renewKeys has something to do, or the session to end, for its
// keys' sake; zero if nothing is known.
func (s *sender) nextRekey(ep *epoch) time.Time {
	r := &ep.tx.rekey
	slept := s.sleptSince(ep.tx.keys)
	next := ep.tx.keys.born.Add(rejectAfter - slept)
	sooner := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	if len(ep.tx.replaced) > 0 {
		sooner(ep.tx.replaced[0].expires)
	}
	if ep.tx.up == 0 || s.e.expects == wire.KindInit {
		return next // a server asks whenever it is woken
	}
	if a := r.attempt; a == nil {
		sooner(r.due.Add(-slept))
	} else if a.noise != nil {
		sooner(r.next)
	}
	return next
}
