package fq_test

import (
	"fmt"
	"time"

	"github.com/multilink-vpn/multilink/internal/fq"
)

type packet struct {
	name string
	size int
}

func Example() {
	q := fq.New(fq.Config[packet]{})
	now := time.Unix(0, 0)
	const bulk, interactive = 0, 1
	for _, p := range []packet{{"download", 1400}, {"download", 1400}, {"query", 100}} {
		q.Push(now, uint32(p.name[0]), bulk, p.size, p)
	}
	q.Push(now, 7, interactive, 60, packet{"keystroke", 60})

	// There is a line for small packets only.
	q.Begin(now)
	for v, ok := q.Head(now); ok; v, ok = q.Head(now) {
		if v.size < 500 {
			fmt.Println(q.Take().name)
		} else {
			q.Skip()
		}
	}
	fmt.Println(q.Len(), "packets wait")
	// Output:
	// keystroke
	// query
	// 2 packets wait
}
