package mlvpn

import "sync"

// A mailbox passes messages from any goroutine to one that owns state. Neither side
// ever waits for the other: the owner selects on wake, then takes all there is.
type mailbox[T any] struct {
	wake chan struct{} // capacity 1

	mu   sync.Mutex // guards the following
	msgs []T
}

func newMailbox[T any]() mailbox[T] {
	return mailbox[T]{wake: make(chan struct{}, 1)}
}

// put appends one message.
func (b *mailbox[T]) put(m T) {
	b.mu.Lock()
	b.msgs = append(b.msgs, m)
	b.mu.Unlock()
	b.signal()
}

// putAll appends messages; the caller may use the slice again.
func (b *mailbox[T]) putAll(ms []T) {
	if len(ms) == 0 {
		return
	}
	b.mu.Lock()
	b.msgs = append(b.msgs, ms...)
	b.mu.Unlock()
	b.signal()
}

func (b *mailbox[T]) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns all messages and keeps spare, the previous result of take, for reuse.
func (b *mailbox[T]) take(spare []T) []T {
	clear(spare)
	b.mu.Lock()
	defer b.mu.Unlock()
	ms := b.msgs
	b.msgs = spare[:0]
	return ms
}
