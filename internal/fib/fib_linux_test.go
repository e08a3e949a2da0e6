package fib

import (
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs the test in a network namespace of its own, which ends with it.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("MULTILINK_REQUIRE_ROOT") == "1" {
			t.Fatal("MULTILINK_REQUIRE_ROOT=1, but this is not root")
		}
		t.Skip("routing rules need root")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// rules returns the tables that this package's rules lead to, of IPv4 and IPv6.
func rules(t *testing.T) (tables []int) {
	t.Helper()
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.RuleList(family)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if r.Protocol == protocol {
				if r.Mark&^maxTable != markBase || int(r.Mark&maxTable) != r.Table {
					t.Errorf("the rule %v does not lead its mark to its table", r)
				}
				tables = append(tables, r.Table)
			}
		}
	}
	return tables
}

func TestRules(t *testing.T) {
	inNamespace(t)
	crashed := Tables{Owner: "mlvpn0"}
	if err := crashed.Use(7); err != nil {
		t.Fatal(err)
	}
	other := Tables{Owner: "mlvpn1"}
	if err := other.Use(9); err != nil {
		t.Fatal(err)
	}
	tables := Tables{Owner: "mlvpn0"}
	for range 2 {
		for _, n := range []int{0, 100, 2000} {
			if err := tables.Use(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What the crashed one has left is gone, what another owns is not.
	if got := rules(t); len(got) != 6 {
		t.Errorf("rules lead to %v, want 9, 100 and 2000 twice", got)
	}
	for _, n := range rules(t) {
		if n == 7 {
			t.Error("the rule of the run that crashed is still there")
		}
	}
	if err := tables.Close(); err != nil {
		t.Fatal(err)
	}
	if got := rules(t); len(got) != 2 || got[0] != 9 {
		t.Errorf("rules lead to %v after Close, want the other owner's", got)
	}
	if err := tables.Close(); err != nil {
		t.Error(err)
	}
	if err := tables.Use(1 << 20); err == nil {
		t.Error("no error for a table out of range")
	}
}
