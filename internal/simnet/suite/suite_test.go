package suite

import (
	"flag"
	"testing"

	"github.com/multilink-vpn/multilink/internal/simnet"
)

var update = flag.Bool("update", false, "write what is missed to testdata")

// TestProfiles judges the trivial tunnel: the suite sees what is wrong with it.
func TestProfiles(t *testing.T) {
	Run(t, Plan{Tunnel: simnet.RoundRobin(), Dir: "testdata", Update: *update})
}
