package linktest

import (
	"runtime"
	"strings"
	"time"
)

// goroutines returns the stacks of all goroutines by their "goroutine N" prefix.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for _, stack := range strings.Split(string(buf), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		stacks[id] = stack
	}
	return stacks
}

// leaked waits for the goroutines that are not in before to end, but not for tests that
// run in parallel.
func leaked(before map[string]string, d time.Duration) error {
	for deadline := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		left := ""
		for id, stack := range goroutines() {
			if _, ok := before[id]; !ok && !strings.Contains(stack, "created by testing.") {
				left = stack
			}
		}
		if left == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return violated(sClose, "a goroutine is still there %v after both links were closed:\n%s", d, left)
		}
	}
}
