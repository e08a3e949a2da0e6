package multilink_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/multilink-vpn/multilink"

// A rule is the allow-list of a package: what it may import besides the standard
// library. A name of this module is relative to its root. "/..." at the end stands for
// all packages below, too. What is not listed is forbidden.
type rule struct {
	dir   string
	ours  []string // packages of this module
	third []string // packages of other modules
	tests []string // of either kind, in _test.go files only
}

var (
	// core are the packages of which none knows another.
	core = []string{"link", "scheduler", "reorder", "crypto", "tun"}

	// glue may import two of core or more.
	glue = []string{"mlvpn", "internal/daemon", "internal/demo", "internal/e2e/...", "cmd/...", "examples/..."}

	public    = append([]string{"mlvpn", "link/linksim", "link/linktest", "scheduler/schedtest", "tun/tuntest"}, core...)
	xsys      = "golang.org/x/sys/..."
	xnet      = "golang.org/x/net/..."
	xcrypto   = "golang.org/x/crypto/..."
	x         = []string{xsys, xnet, xcrypto}
	noise     = "github.com/flynn/noise"
	goleak    = "go.uber.org/goleak"
	netlink   = "github.com/vishvananda/netlink"
	wireguard = "golang.zx2c4.com/wireguard/tun"

	// light is what a program that imports mlvpn brings in, and no more.
	light = append([]string{noise, wireguard}, x...)
)

// rules has the first rule that fits a package apply to it.
var rules = []rule{
	{dir: ".", tests: append([]string{"internal/conf"}, public...)},

	// The core: no package of this module, and one light dependency where it is the
	// point of the package. A leaf that one of them comes to need is listed with it.
	{dir: "link", third: x, tests: []string{goleak, "link/..."}},
	{dir: "scheduler", third: x, tests: []string{goleak, "scheduler/..."}},
	{dir: "reorder", third: x, tests: []string{goleak}},
	{dir: "crypto", third: append([]string{noise}, x...)},
	{dir: "tun", third: append([]string{wireguard}, x...), tests: []string{goleak, netlink, "tun/..."}},

	// What strangers test their own implementations with imports its parent alone.
	{dir: "link/linksim", ours: []string{"link"}, tests: []string{goleak, "link/linktest"}},
	{dir: "link/linktest", ours: []string{"link"}, tests: []string{goleak}},
	{dir: "scheduler/schedtest", ours: []string{"scheduler"}, tests: []string{goleak}},
	{dir: "tun/tuntest", ours: []string{"tun"}, tests: []string{goleak}},

	// Leaves: mechanisms that know no public package.
	{dir: "internal/wire"},
	{dir: "internal/flow", tests: []string{xnet}},
	{dir: "internal/pacing"},
	{dir: "internal/fq"},
	{dir: "internal/metric"},
	{dir: "internal/path"},
	{dir: "internal/legacy", ours: []string{"internal/path"}, third: []string{xcrypto}, tests: []string{"internal/legacy/legacytest"}},
	{dir: "internal/legacy/legacytest"},
	{dir: "internal/pcapfilter", third: []string{"golang.org/x/net/bpf"}, tests: []string{"internal/legacy/legacytest"}},
	{dir: "internal/prefix"},
	{dir: "internal/bridge"},
	{dir: "internal/lease"},
	{dir: "internal/mutate"},
	{dir: "internal/fuzz"},
	{dir: "internal/suspend", third: []string{xsys}},
	{dir: "internal/gate", third: []string{xcrypto}},

	{
		dir: "mlvpn",
		ours: slices.Concat(core, []string{
			"internal/wire", "internal/flow", "internal/fq", "internal/pacing", "internal/metric", "internal/path", "internal/legacy", "internal/prefix",
			"internal/lease", "internal/bridge",
			"internal/gate", "internal/suspend", "internal/feedback", "internal/rate",
		}),
		tests: []string{goleak, "link/linksim", "link/linktest", "scheduler/schedtest", "tun/tuntest", "internal/legacy/legacytest", "internal/simnet", "internal/simnet/suite", "internal/tcpmodel", "internal/bench/profile"},
	},

	{dir: "internal/feedback", ours: []string{"internal/wire"}},
	{dir: "internal/rate"},

	// The daemon and its parts.
	{dir: "internal/conf"},
	{dir: "internal/hook", third: []string{xsys}, tests: []string{goleak}},
	{dir: "internal/netcfg"},
	{dir: "internal/netcfg/kernel", ours: []string{"internal/netcfg"}, third: []string{xsys, netlink + "/...", "github.com/google/nftables/..."}, tests: []string{"internal/netlab/..."}},
	{dir: "internal/netcfg/probe", third: []string{xsys, xnet}},
	{dir: "internal/netcfg/manage", ours: []string{"internal/netcfg", "internal/netcfg/kernel", "internal/netcfg/probe"}, third: []string{xsys}},
	{dir: "internal/netif", third: []string{xsys, netlink}, tests: []string{goleak}},
	{dir: "internal/privdrop", third: []string{xsys}},
	{dir: "internal/fib", third: []string{xsys, netlink}},
	{dir: "internal/status"},
	{dir: "internal/quota"},
	{dir: "internal/proctitle", third: []string{xsys}},
	{dir: "internal/sdnotify"},
	{dir: "internal/wsconn", third: []string{"github.com/coder/websocket"}, tests: []string{goleak}},
	{dir: "internal/setup", ours: []string{"crypto", "internal/conf", "internal/lease"}},
	{
		dir:   "internal/daemon",
		ours:  slices.Concat(core, []string{"mlvpn", "internal/conf", "internal/pcapfilter", "internal/hook", "internal/netcfg/...", "internal/netif", "internal/privdrop", "internal/fib", "internal/wsconn", "internal/status", "internal/quota", "internal/proctitle", "internal/sdnotify"}),
		tests: []string{goleak, "link/linksim", "tun/tuntest"},
	},
	{
		dir:   "internal/demo",
		ours:  slices.Concat(core, []string{"mlvpn", "link/linksim", "tun/tuntest"}),
		third: []string{"gvisor.dev/gvisor/pkg/..."},
		tests: []string{goleak},
	},
	{
		dir:   "cmd/mlvpn",
		ours:  []string{"crypto", "internal/conf", "internal/daemon", "internal/demo", "internal/hook", "internal/netcfg", "internal/netif", "internal/setup", "internal/proctitle", "internal/status"},
		third: []string{"github.com/spf13/cobra", "github.com/spf13/pflag"},
		tests: []string{goleak},
	},

	// What builds the packages of the daemon.
	{dir: "packaging"},

	// The lab and what runs in it.
	{
		dir:   "internal/netlab/...",
		ours:  []string{"internal/netlab/..."},
		third: []string{xsys, netlink, "github.com/vishvananda/netns"},
		tests: []string{goleak},
	},
	{dir: "internal/bench/profile"},
	{dir: "internal/bench/report"},
	{dir: "internal/bench", ours: []string{"internal/bench/...", "internal/netlab"}, third: []string{xsys}, tests: []string{goleak, "internal/netlab/..."}},
	{dir: "internal/e2e/routing", ours: []string{"internal/netlab/..."}, third: []string{xsys, xnet, netlink, "github.com/google/nftables/..."}},
	{dir: "internal/e2e/...", ours: append([]string{"internal/netlab/..."}, public...), third: []string{xsys, xnet, netlink}, tests: []string{goleak}},

	// The simulation of tunnels under models of TCP.
	{dir: "internal/tcpmodel"},
	{dir: "internal/simnet", ours: []string{"internal/tcpmodel", "link/linksim"}},
	{dir: "internal/simnet/suite", ours: []string{"internal/simnet", "internal/tcpmodel", "internal/bench/profile", "link/linksim"}},

	{
		dir:   "internal/simnet/kernel",
		ours:  []string{"internal/simnet", "internal/netlab"},
		third: []string{xsys, netlink},
		tests: []string{"internal/tcpmodel", "link/linksim"},
	},

	// Examples show what a stranger can do.
	{dir: "examples/...", ours: public, third: []string{xnet, xsys}, tests: []string{goleak}},
}

// TestImports fails when a package imports what its rule does not allow. It parses the
// files of all systems itself, so that its cached result depends on their contents.
func TestImports(t *testing.T) {
	imports, err := parseImports(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(imports) < 200 {
		t.Fatalf("found only %d imports: not the whole module", len(imports))
	}
	for _, p := range checkImports(imports, rules) {
		t.Error(p)
	}
}

// An importLine is one import of one file.
type importLine struct {
	pos  string // file:line
	dir  string // the importing package's, relative to the root
	test bool   // in a _test.go file
	path string // as imported; packages of this module relative to its root
	ours bool   // of this module
}

// parseImports returns all imports of the Go files in fsys but those of the standard
// library.
func parseImports(fsys fs.FS) ([]importLine, error) {
	var all []importLine
	err := eachGoFile(fsys, func(name string, src []byte) error {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") {
				continue
			}
			pos := fset.Position(spec.Pos())
			imp := importLine{
				pos:  fmt.Sprintf("%s:%d", pos.Filename, pos.Line),
				dir:  path.Dir(name),
				test: strings.HasSuffix(name, "_test.go"),
				path: p,
			}
			if p == module {
				imp.path, imp.ours = ".", true
			} else if rel, ok := strings.CutPrefix(p, module+"/"); ok {
				imp.path, imp.ours = rel, true
			}
			all = append(all, imp)
		}
		// Each file counts as an import of its own package, so that no package goes
		// without a rule.
		all = append(all, importLine{pos: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), path: path.Dir(name), ours: true})
		return nil
	})
	return all, err
}

// eachGoFile calls f for the Go files of the module.
func eachGoFile(fsys fs.FS, f func(name string, src []byte) error) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		return f(name, src)
	})
}

// checkImports returns what is wrong with the imports.
func checkImports(imports []importLine, rules []rule) (problems []string) {
	complain := func(pos, format string, args ...any) {
		if p := pos + ": " + fmt.Sprintf(format, args...); !slices.Contains(problems, p) {
			problems = append(problems, p)
		}
	}
	cores := make(map[string][]string) // the core packages that a package imports
	for _, imp := range imports {
		i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.dir, imp.dir) })
		if i < 0 {
			complain(imp.dir, "package without a rule: add one to arch_test.go")
			continue
		}
		r := rules[i]
		if imp.path == imp.dir {
			continue // a package and its external tests
		}
		allowed := r.third
		if imp.ours {
			allowed = r.ours
		}
		if imp.test {
			allowed = slices.Concat(r.ours, r.third, r.tests)
		}
		if !matchesAny(allowed, imp.path) {
			complain(imp.pos, "%s may not import %s", imp.dir, imp.path)
		}
		if imp.test || !imp.ours {
			continue
		}
		if slices.Contains(core, imp.path) && !slices.Contains(cores[imp.dir], imp.path) {
			cores[imp.dir] = append(cores[imp.dir], imp.path)
			if len(cores[imp.dir]) > 1 && !matchesAny(glue, imp.dir) {
				complain(imp.pos, "%s imports %s: only mlvpn and what is above it may know two of %s",
					imp.dir, strings.Join(cores[imp.dir], " and "), strings.Join(core, ", "))
			}
		}
	}
	// A heavy dependency could also come in by a package in between.
	for _, dir := range append([]string{"mlvpn"}, core...) {
		for _, imp := range reach(imports, dir) {
			if !imp.ours && !matchesAny(light, imp.path) {
				complain(imp.pos, "%s depends on %s, by %s", dir, imp.path, imp.dir)
			}
		}
	}
	return problems
}

// reach returns the imports of the package and of all that it depends on in this
// module, tests excepted.
func reach(imports []importLine, dir string) (found []importLine) {
	seen := []string{dir}
	for i := 0; i < len(seen); i++ {
		for _, imp := range imports {
			if imp.dir != seen[i] || imp.test {
				continue
			}
			found = append(found, imp)
			if imp.ours && !slices.Contains(seen, imp.path) {
				seen = append(seen, imp.path)
			}
		}
	}
	return found
}

// matches reports whether pattern, a path or a path and "/...", stands for p.
func matches(pattern, p string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == base || strings.HasPrefix(p, base+"/")
	}
	return p == pattern
}

func matchesAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, p) })
}

// TestImportsChecker breaks each rule once.
func TestImportsChecker(t *testing.T) {
	for _, test := range []struct {
		name string
		file string
		imp  string // "./" stands for the module's root
		want string // in the problem; "" means none
	}{
		{name: "standard library", file: "link/a.go", imp: "net"},
		{name: "x/sys", file: "link/a.go", imp: "golang.org/x/sys/unix"},
		{name: "parent", file: "link/linktest/a.go", imp: "./link"},
		{name: "external test", file: "link/a_test.go", imp: "./link"},
		{name: "conformance suite in a test", file: "link/a_test.go", imp: "./link/linktest"},
		{name: "conformance suite", file: "link/a.go", imp: "./link/linktest", want: "link may not import link/linktest"},
		{name: "core imports core", file: "scheduler/a.go", imp: "./link", want: "scheduler may not import link"},
		{name: "core imports core in a test", file: "scheduler/a_test.go", imp: "./link", want: "scheduler may not import link"},
		{name: "core imports an unlisted leaf", file: "link/a.go", imp: "./internal/conf", want: "link may not import internal/conf"},
		{name: "core imports mlvpn", file: "crypto/a.go", imp: "./mlvpn", want: "crypto may not import mlvpn"},
		{name: "core imports a stranger", file: "reorder/a.go", imp: "example.com/heap", want: "reorder may not import example.com/heap"},
		{name: "wireguard outside of tun", file: "link/a.go", imp: wireguard, want: "link may not import " + wireguard},
		{name: "netstack in tun", file: "tun/a.go", imp: wireguard + "/netstack", want: "tun may not import"},
		{name: "noise outside of crypto", file: "link/a.go", imp: noise, want: "link may not import"},
		{name: "harness imports a second package", file: "link/linksim/a.go", imp: "./crypto", want: "link/linksim may not import crypto"},
		{name: "harness imports x/sys", file: "tun/tuntest/a.go", imp: "golang.org/x/sys/unix", want: "tun/tuntest may not import"},
		{name: "leaf imports a public package", file: "internal/pacing/a.go", imp: "./link", want: "internal/pacing may not import link"},
		{name: "leaf imports a leaf", file: "internal/path/a.go", imp: "./internal/metric", want: "internal/path may not import internal/metric"},
		{name: "mlvpn imports netlink", file: "mlvpn/a.go", imp: netlink, want: "mlvpn may not import"},
		{name: "mlvpn imports cobra", file: "mlvpn/a.go", imp: "github.com/spf13/cobra", want: "mlvpn may not import"},
		{name: "mlvpn imports gvisor", file: "mlvpn/a.go", imp: "gvisor.dev/gvisor/pkg/tcpip", want: "mlvpn may not import"},
		{name: "mlvpn imports prometheus", file: "mlvpn/a.go", imp: "github.com/prometheus/client_golang/prometheus", want: "mlvpn may not import"},
		{name: "mlvpn imports the daemon's parts", file: "mlvpn/a.go", imp: "./internal/netif", want: "mlvpn may not import internal/netif"},
		{name: "mlvpn imports the simulator outside of tests", file: "mlvpn/a.go", imp: "./link/linksim", want: "mlvpn may not import link/linksim"},
		{name: "mlvpn's tests import the simulator", file: "mlvpn/a_test.go", imp: "./link/linksim"},
		{name: "example imports a public package", file: "examples/new/a.go", imp: "./mlvpn"},
		{name: "example imports an internal package", file: "examples/new/a.go", imp: "./internal/conf", want: "examples/new may not import internal/conf"},
		{name: "example imports an internal package in a test", file: "examples/new/a_test.go", imp: "./internal/netlab", want: "may not import internal/netlab"},
		{name: "not the prefix of another module", file: "link/a.go", imp: "golang.org/x/network", want: "link may not import"},
		{name: "package without a rule", file: "newpkg/a.go", imp: "net", want: "newpkg: package without a rule"},
		{name: "file of another system", file: "link/a_plan9.go", imp: "./tun", want: "link may not import tun"},
	} {
		src := "//go:build never\n\npackage p\n\nimport _ " + strconv.Quote(strings.Replace(test.imp, "./", module+"/", 1)) + "\n"
		got := problemsOf(t, rules, map[string]string{test.file: src})
		switch {
		case test.want == "" && len(got) != 0:
			t.Errorf("%s: %q, want no problem", test.name, got)
		case test.want != "" && (len(got) == 0 || !strings.Contains(got[0], test.want)):
			t.Errorf("%s: %q, want one with %q", test.name, got, test.want)
		}
	}
}

// TestImportsCheckerGraph breaks the rules that concern several files. Single rules
// would allow what these forbid.
func TestImportsCheckerGraph(t *testing.T) {
	lax := []rule{{dir: "link"}, {dir: "tun"}, {dir: "mlvpn", ours: []string{"internal/..."}}, {dir: "internal/...", ours: public, third: []string{netlink}}}
	imp := func(paths ...string) string {
		src := "package p\n"
		for _, p := range paths {
			src += "import _ " + strconv.Quote(p) + "\n"
		}
		return src
	}
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"one core package", map[string]string{"internal/new/a.go": imp(module + "/link")}, ""},
		{"one core package twice", map[string]string{"internal/new/a.go": imp(module + "/link"), "internal/new/b.go": imp(module + "/link")}, ""},
		{"two core packages", map[string]string{"internal/new/a.go": imp(module + "/link"), "internal/new/b.go": imp(module + "/tun")}, "link and tun"},
		{"two core packages in tests", map[string]string{"internal/new/a_test.go": imp(module+"/link", module+"/tun")}, ""},
		{"two core packages above mlvpn", map[string]string{"internal/daemon/a.go": imp(module+"/link", module+"/tun")}, ""},
		{"heavy dependency in between", map[string]string{"mlvpn/a.go": imp(module + "/internal/a"), "internal/a/a.go": imp(module + "/internal/b"), "internal/b/b.go": imp(netlink)}, "mlvpn depends on " + netlink + ", by internal/b"},
		{"heavy dependency in tests in between", map[string]string{"mlvpn/a.go": imp(module + "/internal/a"), "internal/a/a_test.go": imp(netlink)}, ""},
	} {
		got := strings.Join(problemsOf(t, lax, test.files), "\n")
		if (got != "") != (test.want != "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// problemsOf returns what is wrong with a module of these files.
func problemsOf(t *testing.T, rules []rule, files map[string]string) []string {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, src := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(src)}
	}
	imports, err := parseImports(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return checkImports(imports, rules)
}
