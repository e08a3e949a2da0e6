package main

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/multilink-vpn/multilink/internal/netlab/netns"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if left, _ := netns.List(fmt.Sprintf("ml-%d-", os.Getpid())); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "namespaces left behind:", left)
		code = 1
	}
	os.Exit(code)
}
