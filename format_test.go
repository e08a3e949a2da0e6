package multilink_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// maxLines is the length of the longest file that is not a test.
const maxLines = 600

// TestFormat checks what every file and package has to look like.
func TestFormat(t *testing.T) {
	problems, err := checkFormat(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// checkFormat returns what is wrong with the Go files in fsys: not as gofmt has it, too
// long, or in a package without exactly one comment.
func checkFormat(fsys fs.FS) (problems []string, err error) {
	type pkg struct {
		name      string
		commented []string // files with a package comment
	}
	pkgs := make(map[string]*pkg)
	var dirs []string
	err = eachGoFile(fsys, func(name string, src []byte) error {
		formatted, err := format.Source(src)
		if err != nil {
			return err
		}
		if !bytes.Equal(src, formatted) {
			problems = append(problems, name+": run gofmt -w "+name)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, "_test.go") {
			if f.Doc != nil {
				problems = append(problems, name+": a package comment in a test")
			}
			return nil
		}
		if n := bytes.Count(src, []byte("\n")); n > maxLines {
			problems = append(problems, name+": more than 600 lines: cut it by concern")
		}
		dir := path.Dir(name)
		p := pkgs[dir]
		if p == nil {
			p = &pkg{name: f.Name.Name}
			pkgs[dir] = p
			dirs = append(dirs, dir)
		}
		if f.Doc != nil {
			p.commented = append(p.commented, name)
			if text := f.Doc.Text(); p.name != "main" && !strings.HasPrefix(text, "Package "+p.name+" ") {
				problems = append(problems, name+": the package comment does not begin with \"Package "+p.name+"\"")
			}
		}
		return nil
	})
	for _, dir := range dirs {
		switch p := pkgs[dir]; len(p.commented) {
		case 0:
			problems = append(problems, dir+": package without a comment")
		case 1:
		default:
			problems = append(problems, dir+": several package comments: "+strings.Join(p.commented, ", "))
		}
	}
	return problems, err
}

func TestFormatChecker(t *testing.T) {
	const good = "// Package p is good.\npackage p\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string // "" means no problem
	}{
		{"good", map[string]string{"p/a.go": good, "p/b.go": "package p\n", "p/a_test.go": "package p_test\n"}, ""},
		{"good command", map[string]string{"p/a.go": "// P is good.\npackage main\n"}, ""},
		{"not formatted", map[string]string{"p/a.go": good + "var x  int\n"}, "gofmt -w p/a.go"},
		{"test not formatted", map[string]string{"p/a.go": good, "p/a_test.go": "package p\nvar x int\n"}, "gofmt -w p/a_test.go"},
		{"no comment", map[string]string{"p/a.go": "package p\n"}, "p: package without a comment"},
		{"detached comment", map[string]string{"p/a.go": "// Package p is good.\n\npackage p\n"}, "p: package without a comment"},
		{"two comments", map[string]string{"p/a.go": good, "p/b.go": good}, "several package comments: p/a.go, p/b.go"},
		{"comment in a test", map[string]string{"p/a.go": good, "p/a_test.go": good}, "a package comment in a test"},
		{"wrong name", map[string]string{"p/a.go": "// Package q is good.\npackage p\n"}, "does not begin"},
		{"600 lines", map[string]string{"p/a.go": good + "\n" + strings.Repeat("//\n", 597)}, ""},
		{"601 lines", map[string]string{"p/a.go": good + "\n" + strings.Repeat("//\n", 598)}, "more than 600 lines"},
		{"long test", map[string]string{"p/a.go": good, "p/a_test.go": "package p\n\n" + strings.Repeat("//\n", 1000)}, ""},
		{"test data", map[string]string{"p/a.go": good, "p/testdata/b.go": "not Go"}, ""},
	} {
		fsys := fstest.MapFS{}
		for name, src := range test.files {
			fsys[name] = &fstest.MapFile{Data: []byte(src)}
		}
		problems, err := checkFormat(fsys)
		got := strings.Join(problems, "\n")
		if err != nil || (got != "") != (test.want != "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

// homePath finds the directories of one person's machine.
var homePath = regexp.MustCompile(`/home/[a-z]|/Users/[A-Za-z]|[A-Z]:\\Users`)

// TestNoMachinePaths keeps the paths of an author's machine out of the module.
func TestNoMachinePaths(t *testing.T) {
	for _, bad := range []string{"/home/alice/go", "/Users/Bob/x", `C:\Users\carol`} {
		if !homePath.MatchString(bad) {
			t.Errorf("%q is not found", bad)
		}
	}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return fs.SkipDir
		case !d.Type().IsRegular() || name == "format_test.go":
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if at := homePath.Find(text); at != nil && !bytes.ContainsRune(text, 0) {
			t.Errorf("%s: %s...: a path of somebody's machine", name, at)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mainPackage reports whether dir holds a program, and what its string constants are.
func mainPackage(dir string) (constants []string, ok bool) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, false
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path.Join(dir, file.Name()), nil, 0)
		if err != nil {
			return nil, false
		}
		ok = f.Name.Name == "main"
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, isLit := n.(*ast.BasicLit); isLit && lit.Kind == token.STRING {
				constants = append(constants, strings.Trim(lit.Value, "\"`"))
			}
			return true
		})
	}
	return constants, ok
}
