package suspend

import (
	"time"

	"golang.org/x/sys/unix"
)

// Total returns for how long the host has been suspended since it was booted: what
// CLOCK_BOOTTIME counts and CLOCK_MONOTONIC does not. Setting the wall clock changes
// neither. It is exact to some microseconds.
func Total() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
