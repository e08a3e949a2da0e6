package link_test

import (
	"fmt"
	"testing"

	"github.com/multilink-vpn/multilink/link"
)

func TestRun(t *testing.T) {
	mem := make([]byte, 100)
	cut := func(sizes ...int) (pkts [][]byte) {
		rest := mem
		for _, size := range sizes {
			pkts, rest = append(pkts, rest[:size]), rest[size:]
		}
		return pkts
	}
	apart := func(sizes ...int) (pkts [][]byte) {
		for _, size := range sizes {
			pkts = append(pkts, make([]byte, size))
		}
		return pkts
	}
	for _, tc := range []struct {
		pkts    [][]byte
		size, n int
		total   int
	}{
		{nil, 0, 0, 0},
		{cut(10), 10, 1, 10},
		{cut(10, 10, 10), 10, 3, 30},
		{cut(10, 10, 3), 10, 3, 23},
		{cut(10, 10, 3, 3), 10, 3, 23},
		{cut(10, 11), 10, 1, 10},
		{cut(10, 0, 10), 10, 1, 10},
		{cut(0, 0), 0, 1, 0},
		{apart(10, 10), 10, 1, 10},
		{[][]byte{mem[:10], mem[20:30]}, 10, 1, 10},
		{[][]byte{mem[:10:10], mem[10:20]}, 10, 1, 10},
	} {
		slab, size, n := link.Run(tc.pkts)
		if size != tc.size || n != tc.n || len(slab) != tc.total {
			t.Errorf("Run of %d datagrams: %d bytes, size %d, n %d, want %+v", len(tc.pkts), len(slab), size, n, tc)
		}
	}
}

func ExampleRun() {
	slab := make([]byte, 2500)
	pkts := [][]byte{slab[:1000], slab[1000:2000], slab[2000:2500], make([]byte, 1000)}
	run, size, n := link.Run(pkts)
	fmt.Println(len(run), size, n)
	// Output: 2500 1000 3
}
