package daemon

import (
	"fmt"
	"testing"

	"github.com/multilink-vpn/multilink/internal/conf"
)

func TestNewScheduler(t *testing.T) {
	if newScheduler(conf.Adaptive) != nil {
		t.Error("the usual scheduler is not left to the library, which has another for a C peer")
	}
	for kind, want := range map[conf.Scheduler]string{
		conf.Weighted: "*scheduler.Weighted", conf.Sticky: "*scheduler.Sticky", conf.Redundant: "*scheduler.Redundant",
	} {
		if got := fmt.Sprintf("%T", newScheduler(kind)()); got != want {
			t.Errorf("scheduler = %q makes %s, want %s", kind, got, want)
		}
	}
}
