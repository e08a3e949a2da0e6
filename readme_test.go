package multilink_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/internal/conf"
)

// blocks returns the code blocks of a Markdown file in the given language.
func blocks(t *testing.T, name, language string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "```") {
		if code, ok := strings.CutPrefix(part, language+"\n"); ok && i%2 == 1 {
			found = append(found, code)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no code in %s", name, language)
	}
	return found
}

// TestReadmeCommands checks that the commands in README.md name programs, subcommands
// and options that exist, and that the two to begin with are there.
func TestReadmeCommands(t *testing.T) {
	var lines []string
	for _, b := range blocks(t, "README.md", "sh") {
		lines = append(lines, strings.Split(strings.TrimSpace(b), "\n")...)
	}
	for _, want := range []string{"go run ./cmd/mlvpn demo", "go test ./..."} {
		if !slices.Contains(lines, want) {
			t.Errorf("README.md does not say %q", want)
		}
	}
	for _, line := range lines {
		words := strings.Fields(line)
		for i, w := range words {
			if words[0] == "go" && strings.HasPrefix(w, "./") && w != "./..." {
				constants, ok := mainPackage(w)
				if !ok {
					t.Errorf("%q: %s is no program", line, w)
				}
				if words[1] == "run" && i+1 < len(words) && !slices.Contains(constants, words[i+1]) {
					t.Errorf("%q: %s has no command %s", line, w, words[i+1])
				}
			}
			if words[0] != "bin/mlvpn" {
				continue
			}
			constants, _ := mainPackage("cmd/mlvpn")
			has := func(want string) bool {
				return slices.ContainsFunc(constants, func(c string) bool { return c == want || strings.HasPrefix(c, want+" ") })
			}
			if strings.HasPrefix(w, "-") && !has(strings.TrimLeft(w, "-")) || i == 1 && !strings.HasPrefix(w, "-") && !has(w) {
				t.Errorf("%q: mlvpn has no option or command %s", line, w)
			}
		}
	}
}

// TestReadmeConfig checks that the configuration files in README.md are good.
func TestReadmeConfig(t *testing.T) {
	for i, text := range blocks(t, "README.md", "ini") {
		c, warnings, err := conf.Parse("README.md", strings.NewReader(text))
		if err != nil || len(warnings) > 0 {
			t.Errorf("file %d: %v %v", i+1, err, warnings)
			continue
		}
		if want := []conf.Mode{conf.Server, conf.Client}[i]; c.Mode != want || len(c.Links) != 2 || !c.IP4.Contains(c.IP4Gateway) {
			t.Errorf("file %d: %+v, want a %s with two links and a gateway of its network", i+1, c, want)
		}
	}
}

// TestReadmeCode checks that the code in README.md is what the compiler has seen.
func TestReadmeCode(t *testing.T) {
	src, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var compiled string
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "bond" {
			compiled = string(src[fset.Position(fn.Doc.Pos()).Offset:fset.Position(fn.End()).Offset])
		}
	}
	if got := blocks(t, "README.md", "go"); len(got) != 1 || strings.TrimSpace(got[0]) != compiled {
		t.Errorf("the code in README.md differs from func bond in example_test.go:\n%s", strings.Join(got, "\n"))
	}
}

var (
	inlineLink = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	isURL      = regexp.MustCompile(`^[a-z]+:`)
)

// TestDocuments checks that the documents exist and that what they link to does.
func TestDocuments(t *testing.T) {
	for _, name := range []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SPEC.md", "SECURITY.md", "LICENSE"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range inlineLink.FindAllStringSubmatch(string(text), -1) {
			if isURL.MatchString(m[1]) {
				continue
			}
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s links to a missing file: %v", name, err)
			}
		}
	}
	changelog, _ := os.ReadFile("CHANGELOG.md")
	if !strings.Contains(string(changelog), "\n## [Unreleased]\n") {
		t.Error("CHANGELOG.md has no section [Unreleased]")
	}
}
