package fq

// packetID names a packet of a pool; 0 names none.
type packetID int32

// pool has the packets of all flows.
type pool[T any] struct {
	packets []packet[T] // the first is not used
	free    packetID    // list by next
	used    int
}

type packet[T any] struct {
	v    T
	at   int64 // when it was pushed, ns since the queue's epoch
	size int   // bytes
	next packetID
}

// fifo is a flow's packets.
type fifo struct {
	head, tail packetID
	packets    int
	bytes      int
}

// at returns a packet. The pointer is valid until the next push.
func (p *pool[T]) at(id packetID) *packet[T] { return &p.packets[id] }

// cap returns for how many packets there is memory.
func (p *pool[T]) cap() int { return cap(p.packets) }

func (p *pool[T]) push(f *fifo, v T, size int, at int64) {
	id := p.free
	if id != 0 {
		p.free = p.packets[id].next
	} else {
		if len(p.packets) == 0 {
			p.packets = append(p.packets, packet[T]{})
		}
		id = packetID(len(p.packets))
		p.packets = append(p.packets, packet[T]{})
	}
	p.packets[id] = packet[T]{v, at, size, 0}
	if f.head == 0 {
		f.head = id
	} else {
		p.packets[f.tail].next = id
	}
	f.tail = id
	f.packets++
	f.bytes += size
	p.used++
}

// pop removes the head of f, which has one.
func (p *pool[T]) pop(f *fifo) (v T, size int, at int64) {
	id := f.head
	n := &p.packets[id]
	f.head = n.next
	f.packets--
	f.bytes -= n.size
	v, size, at = n.v, n.size, n.at
	*n = packet[T]{next: p.free}
	p.free = id
	p.used--
	return v, size, at
}
