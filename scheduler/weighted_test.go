package scheduler_test

import (
	"testing"

	"github.com/multilink-vpn/multilink/scheduler"
	"github.com/multilink-vpn/multilink/scheduler/schedtest"
)

func newWeighted() scheduler.Scheduler { return new(scheduler.Weighted) }

func TestWeighted(t *testing.T) {
	schedtest.TestScheduler(t, newWeighted)
	schedtest.TestProportional(t, newWeighted, 0)
}
