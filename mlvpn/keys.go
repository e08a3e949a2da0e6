package mlvpn

import (
	"time"

	"github.com/multilink-vpn/multilink/crypto"
)

// keys are what one handshake has agreed on. An epoch begins with some, and rekeying
// replaces them: paths, packet numbers and order live on. All but expires is constant.
type keys struct {
	number  uint32 // in the epoch: each rekeying has a higher one
	secrets *crypto.Secrets
	aead    crypto.AEAD
	own     []uint32 // by link: the receiver indices that we want to see
	peer    []uint32 // by link: those that the peer wants to see
	born    time.Time
	slept   time.Duration // for how long the host had been suspended by then
}

// all returns every set of keys that an epoch has.
func (t *epochSender) all() (all []*keys) {
	for _, k := range t.replaced {
		all = append(all, k.keys)
	}
	if t.offered != nil {
		all = append(all, t.offered)
	}
	return append(all, t.keys)
}

// path returns the path of a link, for a client, which decides about its paths. A
// server's paths are made by its receiver, when something arrives.
func (s *sender) path(ep *epoch, link int) *pathState {
	p := ep.tx.paths[link]
	if p == nil {
		p = &pathState{epoch: ep, link: link}
		ep.tx.paths[link] = p
		s.e.receiver.box.put(func(time.Time) { ep.rx.paths[link] = p })
	}
	return p
}

// newSealer returns the sealer of a path under keys k.
func (p *pathState) newSealer(k *keys) (sealer, error) {
	seal, err := k.secrets.Sealer(k.aead, uint16(p.link), k.number)
	if err != nil {
		return nil, err
	}
	if before, ok := p.tx.seal.(*ml1Sealer); ok {
		seal.Continue(before.seal)
	}
	return &ml1Sealer{index: k.peer[p.link], seal: seal}, nil
}

// inboundKeys are keys as the receiver uses them.
type inboundKeys struct {
	*keys
	openers []opener // by link; nil where nothing has arrived
	proved  bool     // something was opened with them: the peer has them
}

// An inboundSlot is what a receiver index stands for.
type inboundSlot struct {
	epoch *epoch
	keys  *inboundKeys
	link  int
}

// accept lets in what arrives under keys of an epoch.
func (r *receiver) accept(ep *epoch, k *keys) {
	in := &inboundKeys{keys: k, openers: make([]opener, len(k.own))}
	for link, index := range k.own {
		r.paths[index] = inboundSlot{ep, in, link}
	}
}

// retire forgets keys. The sender has done so before.
func (r *receiver) retire(k *keys) {
	for _, index := range k.own {
		slot := r.paths[index]
		delete(r.paths, index)
		if o, ok := slot.keys.openers[slot.link].(*ml1Opener); ok {
			o.opener.Wipe()
		}
	}
	k.secrets.Wipe()
}

// opener returns what opens the datagrams of one slot.
func (r *receiver) opener(slot *inboundSlot) (opener, error) {
	if o := slot.keys.openers[slot.link]; o != nil {
		return o, nil
	}
	k := slot.keys
	open, err := k.secrets.Opener(k.aead, uint16(slot.link), k.number)
	if err != nil {
		return nil, err
	}
	if p := slot.epoch.rx.paths[slot.link]; p != nil {
		if before, ok := p.rx.open.(*ml1Opener); ok {
			open.Continue(before.opener)
		}
	}
	o := &ml1Opener{opener: open}
	k.openers[slot.link] = o
	return o, nil
}
