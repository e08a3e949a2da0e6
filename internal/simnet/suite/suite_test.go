package suite

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multilink-vpn/multilink/internal/bench/profile"
	"github.com/multilink-vpn/multilink/internal/simnet"
	"github.com/multilink-vpn/multilink/internal/tcpmodel"
)

// underTest is the tunnel that TestProfiles judges.
func underTest() simnet.Tunnel { return simnet.RoundRobin() }

var update = flag.Bool("update", false, "write what is missed to testdata")

// missedFile has the targets that the tunnel under test is known to miss.
func missedFile() string {
	if long() {
		return "testdata/missed_long.txt"
	}
	return "testdata/missed.txt"
}

// TestProfiles runs the tunnel under test over the table of profiles, and compares the
// targets that it misses with those that a file in testdata admits: it fails for one more
// and for one less. With MULTILINK_LONG=1 it runs all of the table, longer and in both
// directions; otherwise the project's own profiles.
func TestProfiles(t *testing.T) {
	admitted := readMissed(t)
	var missed []string
	t.Log(Table)
	for _, c := range cases(t) {
		row, err := Measure(c, underTest(), options(c))
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		t.Log(row)
		for _, p := range row.Problems() {
			key := fmt.Sprintf("%v %s", c, p.Kind)
			missed = append(missed, key)
			if !*update && !slices.Contains(admitted, key) {
				t.Errorf("%v: %s: %s", c, p.Kind, p.Text)
			}
		}
	}
	if *update {
		writeMissed(t, missed)
		return
	}
	for _, key := range admitted {
		if !slices.Contains(missed, key) {
			t.Errorf("%s is not missed any more: take it out of %s", key, missedFile())
		}
	}
}

func long() bool { return os.Getenv("MULTILINK_LONG") == "1" }

// sharedName is the profile of which all lines are one.
const sharedName = "same_tower"

// extra returns profiles that are not in the table: the bench cannot have the first, and
// makes the second of every profile.
func extra(t *testing.T) (all []profile.Profile) {
	for _, s := range []string{sharedName + ": 2 × 15, 20", "blackhole: 50, 10, out 7s for 2s + 50, 20"} {
		p, err := profile.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		p.Group = profile.GroupDesign
		all = append(all, p)
	}
	return all
}

func cases(t *testing.T) (all []Case) {
	profiles, err := profile.Table()
	if err != nil {
		t.Fatal(err)
	}
	profiles = append(profiles, extra(t)...)
	for _, p := range profiles {
		for _, d := range profile.Directions {
			for _, a := range []tcpmodel.Algorithm{tcpmodel.Cubic, tcpmodel.BBR} {
				if long() || p.Group == profile.GroupDesign && d == profile.Down {
					all = append(all, Case{Profile: p, Direction: d, Control: a, Shared: p.Name == sharedName})
				}
			}
		}
	}
	return all
}

func options(c Case) Options {
	o := Options{Duration: 12 * time.Second, Warmup: 4 * time.Second, Seed: 1}
	if long() {
		o.Duration, o.Warmup = 30*time.Second, 5*time.Second
	}
	return o
}

func readMissed(t *testing.T) (keys []string) {
	b, err := os.ReadFile(missedFile())
	if err != nil && !*update {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys
}

func writeMissed(t *testing.T, keys []string) {
	slices.Sort(keys)
	text := "# The targets that the tunnel under test misses, as go test -run Profiles -update found.\n" +
		strings.Join(keys, "\n") + "\n"
	if err := os.WriteFile(missedFile(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
