package privdrop

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"testing"
)

// childEnv names the part that a copy of the test binary plays. Giving up root cannot
// be undone, so each attempt has a process of its own.
const childEnv = "MULTILINK_PRIVDROP_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childEnv); part != "" {
		if err := play(part); err != nil {
			fmt.Println("FAIL:", err)
			os.Exit(1)
		}
		fmt.Println("DONE")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLookup(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("no user nobody: %v", err)
	}
	for _, name := range []string{"nobody", nobody.Uid} {
		u, err := Lookup(name)
		if err != nil || u.Name != "nobody" || fmt.Sprint(u.UID) != nobody.Uid || fmt.Sprint(u.GID) != nobody.Gid {
			t.Errorf("Lookup(%q): %+v, %v", name, u, err)
		}
	}
	for name, want := range map[string]string{
		"root":          "root's",
		"0":             "root's",
		"no such user!": "look up user",
		"4123456":       "look up user",
		"":              "look up user",
	} {
		if u, err := Lookup(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Lookup(%q): %+v, %v", name, u, err)
		}
	}
}

func TestDropUnknown(t *testing.T) {
	if err := Drop("no such user!"); err == nil || !strings.Contains(err.Error(), "look up user") {
		t.Errorf("Drop: %v", err)
	}
}
