package reorder_test

import (
	"fmt"
	"time"

	"github.com/multilink-vpn/multilink/reorder"
)

func Example() {
	b := reorder.New[string](reorder.Config{})
	b.SetLink(0, true)
	b.SetLink(1, true)

	now := time.Unix(0, 0)
	arrive := func(p reorder.Packet, v string) {
		switch b.Push(now, p, v) {
		case reorder.Next, reorder.Late:
			fmt.Println(v)
		}
		for v, ok := b.Pop(now); ok; v, ok = b.Pop(now) {
			fmt.Println(v)
		}
	}
	// The second packet went by the slow link.
	arrive(reorder.Packet{Order: 0, Stamp: 0, Link: 0, Delay: 20 * time.Millisecond}, "first")
	arrive(reorder.Packet{Order: 2, Stamp: 2, Link: 0, Delay: 20 * time.Millisecond}, "third")
	now = now.Add(50 * time.Millisecond)
	arrive(reorder.Packet{Order: 1, Stamp: 1, Link: 1, Delay: 70 * time.Millisecond}, "second")
	// Output:
	// first
	// second
	// third
}
