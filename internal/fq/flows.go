package fq

import "math/bits"

// flowID names a flow of a flowTable; 0 names none.
type flowID int32

// flowKey is what packets of a flow queue have in common.
type flowKey struct {
	hash  uint32
	class uint8
}

// flow is the queue of one flow in one class.
type flow struct {
	fifo
	codel   codel
	deficit int // bytes that the flow may send in this turn
	key     flowKey
	next    flowID // in a flowList, or of the free ones
}

// flowTable has the flows that are in lists: a hash table with linear probing of flows
// that lie side by side.
type flowTable struct {
	flows []flow   // the first is not used
	free  flowID   // list by next
	used  int      // flows in slots
	slots []flowID // a power of two, at least twice as many as used
}

// at returns a flow. The pointer is valid until the next add.
func (t *flowTable) at(id flowID) *flow { return &t.flows[id] }

// slot returns where the search for a key starts. Multiplication (Knuth, The Art of
// Computer Programming 3, 6.4) spreads hashes that differ in few bits.
func (t *flowTable) slot(key flowKey) int {
	h := (key.hash ^ uint32(key.class)) * 0x9e3779b1
	return int(h >> (33 - bits.Len(uint(len(t.slots)))))
}

// find returns the flow with a key, or 0.
func (t *flowTable) find(key flowKey) flowID {
	if len(t.slots) == 0 {
		return 0
	}
	for i := t.slot(key); ; i++ {
		id := t.slots[i&(len(t.slots)-1)]
		if id == 0 || t.flows[id].key == key {
			return id
		}
	}
}

// add adds a flow with a key that no other has.
func (t *flowTable) add(key flowKey) flowID {
	if 2*(t.used+1) > len(t.slots) {
		t.grow()
	}
	id := t.free
	if id != 0 {
		t.free = t.flows[id].next
	} else {
		id = flowID(len(t.flows))
		t.flows = append(t.flows, flow{})
	}
	t.flows[id] = flow{key: key}
	t.insert(id)
	t.used++
	return id
}

func (t *flowTable) insert(id flowID) {
	i := t.slot(t.flows[id].key)
	for t.slots[i&(len(t.slots)-1)] != 0 {
		i++
	}
	t.slots[i&(len(t.slots)-1)] = id
}

func (t *flowTable) grow() {
	if len(t.flows) == 0 {
		t.flows = append(t.flows, flow{})
	}
	old := t.slots
	t.slots = make([]flowID, max(2*len(old), 8))
	for _, id := range old {
		if id != 0 {
			t.insert(id)
		}
	}
}

// remove removes a flow, and moves those up that its slot was in the way of.
func (t *flowTable) remove(id flowID) {
	mask := len(t.slots) - 1
	hole := t.slot(t.flows[id].key) & mask
	for t.slots[hole] != id {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; t.slots[i] != 0; i = (i + 1) & mask {
		home := t.slot(t.flows[t.slots[i]].key) & mask
		if (i-home)&mask >= (i-hole)&mask {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = 0
	t.flows[id] = flow{next: t.free}
	t.free = id
	t.used--
}

// largest returns the flow with the most bytes. There is one.
func (t *flowTable) largest() *flow {
	most := &t.flows[0]
	for i := range t.flows {
		if t.flows[i].bytes > most.bytes {
			most = &t.flows[i]
		}
	}
	return most
}

// flowList is a list of flows in the order in which they are served.
type flowList struct{ head, tail flowID }

func (l *flowList) push(t *flowTable, id flowID) {
	t.flows[id].next = 0
	if l.head == 0 {
		l.head = id
	} else {
		t.flows[l.tail].next = id
	}
	l.tail = id
}

// pop removes the first flow, which exists.
func (l *flowList) pop(t *flowTable) flowID {
	id := l.head
	l.head = t.flows[id].next
	return id
}

// prepend moves all of other before what is in the list.
func (l *flowList) prepend(t *flowTable, other *flowList) {
	if other.head == 0 {
		return
	}
	if l.head == 0 {
		l.tail = other.tail
	}
	t.flows[other.tail].next = l.head
	l.head = other.head
	other.head = 0
}
