package suspend

import (
	"testing"
	"time"
)

// A test cannot suspend the host, but it can tell that nothing else is measured.
func TestTotal(t *testing.T) {
	first := Total()
	if first < -time.Second {
		t.Errorf("suspended for %v", first)
	}
	for range 1000 {
		if d := Total() - first; d < -time.Second || d > time.Second {
			t.Fatalf("suspended for %v while the test ran", d)
		}
	}
}
