package mlvpn

import "time"

// timers is a heap of things that want attention at some time. Its owner asks for the
// earliest and arms one clock timer for it.
type timers[T timed] struct {
	heap []T
}

// timed is implemented by embedding timerSlot.
type timed interface {
	comparable
	slot() *timerSlot
}

// A timerSlot is an item's place in a timers heap; the zero timerSlot is in none.
type timerSlot struct {
	at  time.Time
	pos int // position in the heap + 1
}

func (s *timerSlot) slot() *timerSlot { return s }

// set makes x due at the given time; the zero Time takes x out.
func (t *timers[T]) set(x T, at time.Time) {
	s := x.slot()
	switch {
	case at.IsZero():
		t.remove(x)
		return
	case s.pos == 0:
		t.heap = append(t.heap, x)
		s.pos = len(t.heap)
	case s.at.Equal(at):
		return
	}
	s.at = at
	t.down(t.up(s.pos - 1))
}

func (t *timers[T]) remove(x T) {
	s := x.slot()
	if s.pos == 0 {
		return
	}
	i, last := s.pos-1, len(t.heap)-1
	t.swap(i, last)
	var zero T
	t.heap[last] = zero
	t.heap = t.heap[:last]
	s.pos = 0
	if i < last {
		t.down(t.up(i))
	}
}

// next returns when the earliest item is due.
func (t *timers[T]) next() (at time.Time, ok bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].slot().at, true
}

// due takes out and returns an item that is due at now.
func (t *timers[T]) due(now time.Time) (x T, ok bool) {
	if at, any := t.next(); !any || now.Before(at) {
		return x, false
	}
	x = t.heap[0]
	t.remove(x)
	return x, true
}

func (t *timers[T]) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].slot().pos = i + 1
	t.heap[j].slot().pos = j + 1
}

func (t *timers[T]) less(i, j int) bool {
	return t.heap[i].slot().at.Before(t.heap[j].slot().at)
}

func (t *timers[T]) up(i int) int {
	for i > 0 && t.less(i, (i-1)/2) {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	return i
}

func (t *timers[T]) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(t.heap); c++ {
			if t.less(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}
