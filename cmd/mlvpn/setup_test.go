package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multilink-vpn/multilink/crypto"
	"github.com/multilink-vpn/multilink/internal/conf"
	"github.com/multilink-vpn/multilink/internal/netif"
)

// output runs a command with an input and returns its standard output alone.
func output(t *testing.T, input string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	if err := cmd.Execute(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, &errs)
	}
	return out.String()
}

func TestKeyCommands(t *testing.T) {
	private := output(t, "", "genkey")
	key, err := crypto.ParsePrivateKey(strings.TrimSpace(private))
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range []string{private, strings.TrimSpace(private), " " + private + "\nmore\n"} {
		if got := output(t, input, "pubkey"); got != key.Public().String()+"\n" {
			t.Errorf("the public key is %q", got)
		}
	}
	if _, err := crypto.ParsePresharedKey(strings.TrimSpace(output(t, "", "genpsk"))); err != nil {
		t.Error(err)
	}
	if a, b := output(t, "", "genkey"), output(t, "", "genkey"); a == b {
		t.Error("the same key twice")
	}
}

// TestSetupCommands goes the way of the README: a server, a client, a line, a client's
// configuration.
func TestSetupCommands(t *testing.T) {
	uplinks, err := netif.Uplinks()
	if err != nil {
		t.Fatal(err)
	}
	if len(uplinks) == 0 {
		t.Skip("this host has no line that a client could use")
	}
	dir := t.TempDir()
	server, client := filepath.Join(dir, "server.conf"), filepath.Join(dir, "client.conf")
	output(t, "", "init-server", "-c", server, "--host", "192.0.2.1", "--port", "443", "--ip4", "10.42.0.1/24")
	line := output(t, "", "add-client", "boat", "-c", server, "--route", "192.168.7.0/24")
	if strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "ml1:") {
		t.Errorf("add-client prints %q, want one line", line)
	}
	if got := output(t, "", "list-clients", "-c", server); !strings.Contains(got, "boat ") || !strings.Contains(got, "10.42.0.2 ") || !strings.Contains(got, "192.168.7.0/24") {
		t.Errorf("list-clients prints\n%s", got)
	}
	output(t, "", "join", strings.TrimSpace(line), "-c", client, "--line", uplinks[0].Name)
	c, _, err := conf.Load(client)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Links) != 1 || c.Links[0].Name != uplinks[0].Name || c.Links[0].RemoteHost != "192.0.2.1" || c.Links[0].RemotePort != 443 {
		t.Errorf("%+v", c.Links)
	}
	if err := os.Remove(client); err != nil {
		t.Fatal(err)
	}
	output(t, line, "join", "-", "-c", client)
	output(t, "", "remove-client", "boat", "-c", server)
	if got := output(t, "", "list-clients", "-c", server); strings.Contains(got, "boat") {
		t.Errorf("list-clients prints\n%s", got)
	}

	t.Log("# a client that makes its own key, which never leaves it")
	private := output(t, "", "genkey")
	keyFile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
	line = output(t, "", "add-client", "van", "-c", server, "--key", strings.TrimSpace(output(t, private, "pubkey")))
	if err := os.Remove(client); err != nil {
		t.Fatal(err)
	}
	output(t, line, "join", "-", "-c", client, "--key", keyFile)
	if c, _, err := conf.Load(client); err != nil || c.PrivateKey != strings.TrimSpace(private) {
		t.Errorf("the client has another key: %v", err)
	}
}

func TestSetupMistakes(t *testing.T) {
	server := filepath.Join(t.TempDir(), "server.conf")
	output(t, "", "init-server", "-c", server, "--host", "192.0.2.1")
	for want, args := range map[string][]string{
		"there already":      {"init-server", "-c", server, "--host", "192.0.2.1"},
		"--ip4":              {"init-server", "-c", server + "2", "--host", "192.0.2.1", "--ip4", "10.42.0.1"},
		"--route":            {"add-client", "x", "-c", server, "--route", "192.168.7.0"},
		"parse public key":   {"add-client", "x", "-c", server, "--key", "nonsense"},
		"client name":        {"add-client", "../x", "-c", server},
		"there is no client": {"remove-client", "x", "-c", server},
		"begins with ml1:":   {"join", "nonsense", "-c", server + "3"},
		"damaged":            {"join", "ml1:AAAA", "-c", server + "3"},
		"no such file":       {"list-clients", "-c", server + "4"},
	} {
		if _, err := run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to mention %q", args, err, want)
		}
	}
}

func TestChooseLines(t *testing.T) {
	a := []netip.Addr{netip.MustParseAddr("192.168.1.2")}
	dsl, lte, lan := netif.Uplink{Name: "dsl", Addrs: a, Default: true}, netif.Uplink{Name: "lte", Default: true}, netif.Uplink{Name: "lan", Addrs: a}
	for name, test := range map[string]struct {
		uplinks []netif.Uplink
		names   []string
		want    string
		others  string
	}{
		"default routes": {[]netif.Uplink{dsl, lan, lte}, nil, "dsl lte", "lan"},
		"no routes":      {[]netif.Uplink{{Name: "a", Addrs: a}, lan}, nil, "a lan", ""},
		"named":          {[]netif.Uplink{dsl, lan, lte}, []string{"lan", "lte"}, "lan lte", ""},
		"none":           {nil, nil, "", ""},
	} {
		lines, others, err := chooseLines(test.uplinks, test.names)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, l := range lines {
			got = append(got, l.Interface)
		}
		if strings.Join(got, " ") != test.want || strings.Join(others, " ") != test.others {
			t.Errorf("%s: lines %q, others %q", name, got, others)
		}
	}
	if _, _, err := chooseLines([]netif.Uplink{dsl}, []string{"nosuch"}); err == nil {
		t.Error("a line that does not exist")
	}
}
