package multilink_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/multilink-vpn/multilink/internal/conf"
)

var update = flag.Bool("update", false, "rewrite docs/mlvpn.conf.md")

// TestConfigReference fails when the reference does not say what the parser knows.
func TestConfigReference(t *testing.T) {
	const name = "docs/mlvpn.conf.md"
	var want bytes.Buffer
	want.WriteString("# mlvpn.conf\n\n" +
		"The keys of the daemon's configuration file. This page is made from the parser's own\n" +
		"list: run `go test . -run ConfigReference -update` after changing that.\n\n" +
		"The file must belong to root or to the user who starts the daemon, and nobody else may\n" +
		"read it (mode 0600): it holds a secret. All problems of a file are reported together,\n" +
		"with their lines, and an unknown key is a warning. Sections may come in any order; `#`\n" +
		"starts a comment.\n\n")
	if err := conf.Markdown(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is out of date: run go test . -run ConfigReference -update", name)
	}
}
