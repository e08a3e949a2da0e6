// Command packaging builds the Debian and RPM packages of the daemon:
//
//	go run ./packaging -version 1.2.3 -out dist
//
// It runs at the root of the module, needs the go command, and takes nfpm from the module
// proxy.
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// nfpm builds packages without the tools of the distributions.
const nfpm = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0"

func main() {
	version := flag.String("version", "0.0.0~dev", "the `VERSION` of the packages")
	out := flag.String("out", "dist", "the `DIRECTORY` to build in")
	arch := flag.String("arch", runtime.GOARCH, "the `ARCHITECTURE`, as Go calls it")
	formats := flag.String("formats", "deb,rpm", "the formats of the packages")
	flag.Parse()
	if err := build(*version, *out, *arch, strings.Split(*formats, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func build(version, out, arch string, formats []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	// Without cgo the program runs on any distribution, and can keep single capabilities.
	target := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}
	if err := run(target, "go", "build", "-trimpath", "-ldflags=-s -w -X main.release="+version, "-o", filepath.Join(out, "mlvpn"), "./cmd/mlvpn"); err != nil {
		return err
	}
	// The manual pages come from the program itself, built for this machine.
	if err := run(nil, "go", "run", "./cmd/mlvpn", "man", out); err != nil {
		return err
	}
	for _, page := range []string{"mlvpn.1", "mlvpn.conf.5"} {
		if err := compress(filepath.Join(out, page)); err != nil {
			return err
		}
	}
	vars := []string{"VERSION=" + version, "ARCH=" + arch, "DIST=" + out}
	for _, format := range formats {
		if err := run(vars, "go", "run", nfpm, "package", "--config", "packaging/nfpm.yaml", "--packager", format, "--target", out); err != nil {
			return err
		}
	}
	return nil
}

func run(env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

// compress replaces a file by its compressed form, which is the same each time.
func compress(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := os.WriteFile(name+".gz", b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Remove(name)
}
