package wire

import "testing"

func BenchmarkHeader(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, HeaderSize)
	for i := uint32(1); b.Loop(); i++ {
		PutHeader(buf, i, i)
		if index, _, ok := ParseHeader(buf); !ok || index != i {
			b.Fatal(index, ok)
		}
	}
}
