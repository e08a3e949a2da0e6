package suite

import (
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

// A Plan says what Run does.
type Plan struct {
	Tunnel simnet.Tunnel

	// Dir is the directory of the lists of targets that the tunnel is known to miss,
	// missed.txt and missed_long.txt.
	Dir string

	// Update writes the list instead of comparing with it.
	Update bool
}

// Run runs a tunnel over the table of profiles, and compares the targets that it misses
// with those that a list admits: it fails for one more and for one less. With
// MULTILINK_LONG=1 it runs all of the table, longer and in both directions; otherwise
// the project's own profiles.
func Run(t *testing.T, p Plan) {
	long := os.Getenv("MULTILINK_LONG") == "1"
	file := p.Dir + "/missed.txt"
	if long {
		file = p.Dir + "/missed_long.txt"
	}
	all, err := cases(long)
	if err != nil {
		t.Fatal(err)
	}
	missed := judgeAll(t, p.Tunnel, all, options(long))
	if p.Update {
		if err := writeMissed(file, missed); err != nil {
			t.Fatal(err)
		}
		return
	}
	admitted, err := readMissed(file)
	if err != nil {
		t.Fatal(err)
	}
	for key, problem := range missed {
		if !slices.Contains(admitted, key) {
			t.Errorf("%s: %s", key, problem)
		}
	}
	for _, key := range admitted {
		if _, ok := missed[key]; !ok {
			t.Errorf("%s is not missed any more: take it out of %s", key, file)
		}
	}
}

// judgeAll logs a table, and returns what was missed, by case and kind.
func judgeAll(t *testing.T, tunnel simnet.Tunnel, all []Case, o Options) map[string]string {
	missed := make(map[string]string)
	t.Log(Table)
	for _, c := range all {
		row, err := Measure(c, tunnel, o)
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		t.Log(row)
		for _, p := range row.Problems() {
			missed[fmt.Sprintf("%v %s", c, p.Kind)] = p.Text
		}
	}
	return missed
}

func options(long bool) Options {
	if long {
		return Options{Duration: 30 * time.Second, Warmup: 6 * time.Second, Seed: 1}
	}
	return Options{Duration: 14 * time.Second, Warmup: 5 * time.Second, Seed: 1}
}

// sharedName is the profile of which all lines are one.
const sharedName = "same_tower"

// extra are profiles that are not in the table: the bench cannot have the first, and
// makes the second of every profile.
func extra() []string {
	return []string{sharedName + ": 2 × 15, 20", "blackhole: 50, 10, out 7s for 2s + 50, 20"}
}

func cases(long bool) ([]Case, error) {
	profiles, err := profile.Table()
	if err != nil {
		return nil, err
	}
	for _, s := range extra() {
		p, err := profile.Parse(s)
		if err != nil {
			return nil, err
		}
		p.Group = profile.GroupDesign
		profiles = append(profiles, p)
	}
	var all []Case
	for _, p := range profiles {
		for _, d := range profile.Directions {
			for _, a := range []tcpmodel.Algorithm{tcpmodel.Cubic, tcpmodel.BBR} {
				if long || p.Group == profile.GroupDesign && d == profile.Down {
					all = append(all, Case{Profile: p, Direction: d, Control: a, Shared: p.Name == sharedName})
				}
			}
		}
	}
	return all, nil
}

func readMissed(file string) (keys []string, err error) {
	b, err := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	return keys, err
}

func writeMissed(file string, missed map[string]string) error {
	text := "# The targets that the tunnel under test is known to miss. See docs/simulation.md.\n"
	keys := make([]string, 0, len(missed))
	for key := range missed {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		text += key + "\n"
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
