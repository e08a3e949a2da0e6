package mlvpn

import (
	"bytes"
	"errors"
	"time"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/wire"
)

// askForKeys asks a client for other keys that should have replaced them itself.
func (s *sender) askForKeys(now time.Time, ep *epoch) {
	r := &ep.tx.rekey
	late := s.e.cfg.rekeyAfter() * 5 / 4
	if ep.tx.offered != nil || now.Before(r.next) || s.age(now, ep.tx.keys) < late && !ep.worn(s.e.rekeyPackets) {
		return
	}
	r.next = now.Add(rekeyRetry)
	s.rekeyControl(now, ep, wire.Rekey{Kind: wire.RekeyPlease, Epoch: ep.tx.keys.number})
}

// A rekeyResult is what the worker makes of the peer's Noise message.
type rekeyResult struct {
	keys   *keys
	answer []byte
	err    error
}

// answerRekey has the worker answer a client's first message, or answers a copy again.
func (s *sender) answerRekey(now time.Time, p *pathState, f wire.Rekey) {
	ep := p.epoch
	r := &ep.tx.rekey
	switch {
	case f.Epoch < r.last || f.Epoch == 0, f.Epoch == r.last && !bytes.Equal(f.Noise, r.request):
		return // late, or nonsense
	case f.Epoch == r.last:
		if r.answer != nil && ep.tx.offered != nil {
			s.control(now, p, &control{has: hasRekey, rekey: wire.Rekey{Kind: wire.RekeyResponse, Epoch: r.last, Noise: r.answer}})
		}
		return
	case now.Before(r.next):
		return // it will ask again
	}
	cfg, err := s.e.side.rekeying(ep.session)
	if err != nil {
		return
	}
	cfg.Renews = ep.tx.keys.secrets.Binding()
	own := s.allocate(len(ep.tx.paths))
	begun := s.offload(func() func(time.Time) {
		res := respondToRekey(cfg, f, own)
		return func(now time.Time) { s.offer(now, p, f, own, res) }
	})
	if !begun {
		s.release(own)
		return
	}
	r.last, r.request, r.answer = f.Epoch, f.Noise, nil
	r.next = now.Add(rekeyPause)
}

var errIndices = errors.New("another number of links than the session has")

// respondToRekey is the responder's side of the handshake. The worker runs it.
func respondToRekey(cfg crypto.HandshakeConfig, f wire.Rekey, own []uint32) (res rekeyResult) {
	r, err := crypto.NewResponder(cfg)
	if err != nil {
		return rekeyResult{err: err}
	}
	defer r.Wipe()
	payload, _, err := r.Read(f.Noise)
	if err != nil {
		return rekeyResult{err: err}
	}
	hello, err := wire.ParseParams(payload)
	if err == nil && len(hello.Indices) != len(own) {
		err = errIndices
	}
	if err != nil {
		return rekeyResult{err: err}
	}
	aead, err := crypto.Choose(hello.AEADs, crypto.Supported())
	if err != nil {
		return rekeyResult{err: err}
	}
	reply := wire.Params{AEADs: aead.Bit(), Indices: own}
	answer, secrets, err := r.Finish(nil, reply.Append(nil))
	if err != nil {
		return rekeyResult{err: err}
	}
	return rekeyResult{keys: &keys{number: f.Epoch, secrets: secrets, aead: aead, own: own, peer: hello.Indices}, answer: answer}
}

// offer tells the client what the worker has made. Until the client uses the new keys,
// nothing is sent under them.
func (s *sender) offer(now time.Time, p *pathState, f wire.Rekey, own []uint32, res rekeyResult) {
	ep := p.epoch
	r := &ep.tx.rekey
	s.count.rekeys++
	if ep != ep.session.tx.current || r.last != f.Epoch || res.err != nil {
		s.release(own)
		if res.keys != nil {
			res.keys.secrets.Wipe()
		}
		if res.err != nil {
			s.e.log.Warn("refused to replace a session's keys", "peer", ep.session.peer, "err", res.err)
		}
		return
	}
	if ep.tx.offered != nil { // the client did not get to know of them
		s.retire(ep.tx.offered)
	}
	s.date(now, res.keys)
	ep.tx.offered, r.answer = res.keys, res.answer
	s.e.receiver.box.put(func(time.Time) { s.e.receiver.accept(ep, res.keys) })
	if p.tx.monitor != nil {
		s.control(now, p, &control{has: hasRekey, rekey: wire.Rekey{Kind: wire.RekeyResponse, Epoch: f.Epoch, Noise: res.answer}})
	}
}
