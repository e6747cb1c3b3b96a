//go:build linux

package kernel_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
)

// host is all that a dataplane may have changed of the host that it ran on: by the command that shows it, or by the name of
// a sysctl.
type host map[string]string

// hostViews are the commands that show a host. None shows anything that changes by itself, such as a counter.
func hostViews() [][]string {
	return [][]string{
		{"ip", "-details", "link", "show"},
		{"ip", "address", "show"},
		{"ip", "-4", "route", "show", "table", "all"}, {"ip", "-6", "route", "show", "table", "all"},
		{"ip", "-4", "rule", "show"}, {"ip", "-6", "rule", "show"},
		{"tc", "qdisc", "show"},
		{"nft", "--handle", "--stateless", "list", "ruleset"},
	}
}

// requireHostTools ends the test where hosts cannot be looked at.
func requireHostTools(tb testing.TB) {
	tb.Helper()
	testutil.RequireTool(tb, "ip", "iproute2")
	testutil.RequireTool(tb, "tc", "iproute2")
	testutil.RequireTool(tb, "nft", "nftables")
}

// lookAtHost sees links, addresses, routes, rules, queueing disciplines, sysctls and the whole of nftables, with handles.
func lookAtHost(tb testing.TB) host {
	tb.Helper()
	h := make(host)
	for _, view := range hostViews() {
		h[strings.Join(view, " ")] = output(tb, view...)
	}
	for _, tree := range []string{"ipv4", "ipv6", "netfilter"} {
		require.NoError(tb, filepath.WalkDir("/proc/sys/net/"+tree, h.readSysctl))
	}
	return h
}

// readSysctl is for filepath.WalkDir.
func (h host) readSysctl(path string, entry fs.DirEntry, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist): // gone while it was walked to
		return nil
	case err != nil:
		return err
	case entry.IsDir() || entry.Name() == "nf_conntrack_count":
		return nil
	}
	value, err := os.ReadFile(path)
	switch {
	case err == nil:
		h[path] = string(value)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EIO): // an order, or a secret not set
	default:
		return err
	}
	return nil
}

// requireSameHost asserts that the host is as it was.
func requireSameHost(tb testing.TB, before host) {
	tb.Helper()
	after := lookAtHost(tb)
	both := maps.Clone(before)
	maps.Copy(both, after)
	was, is := make(host), make(host)
	for view := range both {
		if before[view] != after[view] {
			was[view], is[view] = before[view], after[view]
		}
	}
	require.Equal(tb, was, is, "the host is not as it was")
}

// output runs a program and returns what it writes. What it complains of fails the test only with the program.
func output(tb testing.TB, command ...string) string {
	tb.Helper()
	var complaints strings.Builder
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	require.NoError(tb, err, "%s: %s", strings.Join(command, " "), complaints.String())
	return string(out)
}

// resetHost makes the sysctls that a dataplane may have to change what they are on a host that is no router, whatever the
// machine has handed to the namespace: nothing is forwarded, redirects are sent, and sources are not looked at.
func resetHost(tb testing.TB) {
	tb.Helper()
	for _, s := range []struct{ name, value string }{
		{"ipv4/ip_forward", "0"}, {"ipv6/conf/all/forwarding", "0"}, // first, as they set others
		{"ipv4/conf/all/send_redirects", "1"}, {"ipv4/conf/default/send_redirects", "1"},
		{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
	} {
		setSysctl(tb, "net/"+s.name, s.value)
	}
}

// setSysctl sets a sysctl of the namespace, named by its path below /proc/sys.
func setSysctl(tb testing.TB, name, value string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile("/proc/sys/"+name, []byte(value), 0))
}

// guests are the programs, and people, whose rules a host may have when a dataplane comes to it.
func guests() []string { return []string{"docker", "ufw", "firewalld", "strict"} }

// loadGuest loads the rules that a guest leaves on a host, in the encoding that is its own: iptables-nft's for those that use
// iptables. All of nftables is flushed with the end of the test.
func loadGuest(tb testing.TB, name string) {
	tb.Helper()
	tb.Cleanup(func() { output(tb, "nft", "flush", "ruleset") })
	dir := filepath.Join("testdata", "guests")
	if rules := filepath.Join(dir, name+".nft"); exists(rules) {
		output(tb, "nft", "-f", rules)
		return
	}
	for suffix, restore := range map[string]string{".v4": "iptables-nft-restore", ".v6": "ip6tables-nft-restore"} {
		testutil.RequireTool(tb, restore, "iptables")
		output(tb, restore, filepath.Join(dir, name+suffix))
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A host with anybody's rules can be looked at, looks the same twice, and differs when a rule does.
func TestHost(t *testing.T) {
	netns.Require(t)
	requireHostTools(t)
	for _, name := range guests() {
		t.Run(name, func(t *testing.T) {
			loadGuest(t, name)
			before := lookAtHost(t)
			requireSameHost(t, before)
			require.Contains(t, before["nft --handle --stateless list ruleset"], "chain ")
			output(t, "nft", "add", "table", "inet", "left")
			require.NotEqual(t, before, lookAtHost(t))
			output(t, "nft", "delete", "table", "inet", "left")
			requireSameHost(t, before)
		})
	}
}
