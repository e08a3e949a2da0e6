// Package schedtest checks the properties that every scheduler.Scheduler must have.
package schedtest

import (
	"testing"

	"github.com/multilink-vpn/multilink/scheduler"
)

// TestScheduler runs the suite. It calls make for a fresh Scheduler in every subtest.
func TestScheduler(t *testing.T, make func() scheduler.Scheduler) {
}

// TestProportional checks shares.
func TestProportional(t *testing.T, make func() scheduler.Scheduler, tolerance float64) {
}
