package sysctl

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// tree makes parameters that are plain files.
func tree(t *testing.T, values map[string]string) Tree {
	t.Helper()
	tr := New(t.TempDir())
	for name, value := range values {
		require.NoError(t, os.MkdirAll(filepath.Dir(tr.path(name)), 0o755))
		require.NoError(t, os.WriteFile(tr.path(name), []byte(value+"\n"), 0o644))
	}
	return tr
}

func want(t *testing.T, tr Tree, values map[string]string) {
	t.Helper()
	for name, value := range values {
		got, err := tr.Get(name)
		require.NoError(t, err)
		require.Equal(t, value, got, name)
	}
}

func TestSetAndRestore(t *testing.T) {
	before := map[string]string{"net.a": "0", "net.b": "5", "net.conf.eth0/100.c": "1"}
	tr := tree(t, before)
	settings := []Setting{{"net.a", "1"}, {"net.b", "5"}, {"net.conf.eth0/100.c", "2"}}
	saved, err := tr.Set(settings)
	require.NoError(t, err)
	require.Equal(t, []Saved{{Setting: settings[0], Before: "0"}, {Setting: settings[2], Before: "1"}}, saved)
	want(t, tr, map[string]string{"net.a": "1", "net.b": "5", "net.conf.eth0/100.c": "2"})
	_, err = os.Stat(filepath.Join(tr.root, "net", "conf", "eth0.100", "c"))
	require.NoError(t, err)
	again, err := tr.Set(settings)
	require.NoError(t, err)
	require.Empty(t, again)
	require.NoError(t, tr.Restore(saved))
	want(t, tr, before)
	require.NoError(t, tr.Restore(saved), "again")
	want(t, tr, before)
}

// What someone else has set since, or has taken away, is left.
func TestRestoreLeavesOthers(t *testing.T) {
	tr := tree(t, map[string]string{"a": "0", "b": "0", "c": "0"})
	saved, err := tr.Set([]Setting{{"a", "1"}, {"b", "1"}, {"c", "1"}})
	require.NoError(t, err)
	require.NoError(t, tr.write(Setting{"a", "2"}))
	require.NoError(t, os.Remove(tr.path("b")))
	require.NoError(t, tr.Restore(saved))
	want(t, tr, map[string]string{"a": "2", "c": "0"})
}

func TestSetRollsBack(t *testing.T) {
	before := map[string]string{"a": "0", "b": "0"}
	tr := tree(t, before)
	_, err := tr.Set([]Setting{{"a", "1"}, {"b", "1"}, {"no.such", "1"}})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "read no.such")
	want(t, tr, before)
}

func TestForwardingPlan(t *testing.T) {
	values := map[string]string{
		"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0",
		"net.ipv6.conf.all.accept_ra": "1", "net.ipv6.conf.all.x": "",
		"net.ipv6.conf.default.accept_ra": "1", "net.ipv6.conf.default.forwarding": "0",
	}
	for name, v := range map[string][2]string{
		"eth0": {"1", "0"}, "eth0/100": {"1", "0"}, "off": {"0", "0"}, "sure": {"2", "0"}, "router": {"1", "1"}, "waylume0": {"1", "0"},
	} {
		values["net.ipv6.conf."+name+".accept_ra"], values["net.ipv6.conf."+name+".forwarding"] = v[0], v[1]
	}
	tr := tree(t, values)
	got, err := tr.Forwarding(true, true, "waylume0")
	require.NoError(t, err)
	require.ElementsMatch(t, []Setting{{"net.ipv6.conf.eth0.accept_ra", "2"}, {"net.ipv6.conf.eth0/100.accept_ra", "2"}}, got[:2])
	require.Equal(t, []Setting{{forward6, "1"}, {forward4, "1"}}, got[2:])
	got, err = tr.Forwarding(true, false)
	require.NoError(t, err)
	require.Equal(t, []Setting{{forward4, "1"}}, got)

	off, err := tr.NotForwarding(true, true)
	require.NoError(t, err)
	require.Equal(t, []string{forward4, forward6}, off)
	off, err = tr.NotForwarding(false, false)
	require.NoError(t, err)
	require.Empty(t, off)

	// Where the host forwards already, it has settled with its advertisements.
	require.NoError(t, tr.write(Setting{forward6, "1"}))
	got, err = tr.Forwarding(false, true)
	require.NoError(t, err)
	require.Equal(t, []Setting{{forward6, "1"}}, got)

	off, err = tr.NotForwarding(false, true)
	require.NoError(t, err)
	require.Empty(t, off)
	_, err = New(t.TempDir()).NotForwarding(false, true)
	require.ErrorIs(t, err, fs.ErrNotExist)

	_, err = New(t.TempDir()).Forwarding(false, true)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "no IPv6")
}

func TestNames(t *testing.T) {
	require.Equal(t, "/proc/sys/net/ipv6/conf/eth0.100/accept_ra", New("").path(parameter("ipv6", "eth0.100", "accept_ra")))
}
