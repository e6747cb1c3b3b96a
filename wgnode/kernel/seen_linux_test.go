//go:build linux

package kernel_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// tablesNow are the dataplane's tables, with all that was counted but drops, which an interface that comes up may have.
func tablesNow(t *testing.T) (tables []string) {
	t.Helper()
	for _, table := range []string{inetTable, netdevTable} {
		out, err := exec.Command("nft", append([]string{"list", "table"}, strings.Fields(table)...)...).CombinedOutput()
		if err != nil {
			out = []byte("none")
		}
		text := regexp.MustCompile(`(counter drop_\w+ \{\s+packets) \d+ bytes \d+`).ReplaceAllString(string(out), "$1")
		lines := strings.Split(text, "\n")
		slices.Sort(lines) // objects are listed by age
		tables = append(tables, strings.Join(lines, "\n"))
	}
	return tables
}

// classesNow are the classes and queues on both devices.
func classesNow(t *testing.T) (views []string) {
	t.Helper()
	for _, what := range []string{"class", "qdisc"} {
		for _, device := range []string{rigInterface, rigInterface + "-up"} {
			lines := strings.Split(output(t, "tc", what, "show", "dev", device), "\n")
			lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "class fq_codel") }) // a flow of now
			slices.Sort(lines)
			views = append(views, strings.Join(lines, "\n"))
		}
	}
	return views
}

// requireSameLines asserts that views are the same, and says only how they differ.
func requireSameLines(t *testing.T, want, got []string) {
	t.Helper()
	missing, extra := linesThatDiffer(want, got)
	require.Equal(t, missing, extra)
	require.Len(t, linesOf(got), len(linesOf(want)))
}

// linesThatDiffer are the lines of some views that are not in others, and those that are only there.
func linesThatDiffer(want, got []string) (missing, extra []string) {
	a, b := linesOf(want), linesOf(got)
	missing = slices.DeleteFunc(slices.Clone(a), func(line string) bool { return slices.Contains(b, line) })
	extra = slices.DeleteFunc(slices.Clone(b), func(line string) bool { return slices.Contains(a, line) })
	return missing, extra
}

func linesOf(views []string) []string { return strings.Split(strings.Join(views, "\n"), "\n") }

func linksNow(t *testing.T) (views []string) {
	t.Helper()
	for _, device := range []string{rigInterface, rigInterface + "-up"} {
		views = append(views, output(t, "ip", "address", "show", "dev", device), output(t, "ip", "route", "show", "dev", device),
			output(t, "ip", "-6", "route", "show", "dev", device))
	}
	return views
}

// requireWritesNothing asserts that a Sync finds all as it should be, and that nobody sees a change: not the dataplane's own
// counts of requests, and none of those that requireQuiet asks.
func requireWritesNothing(t *testing.T, dp *kernel.Dataplane, sync func() ([]wgnode.Repair, error)) {
	t.Helper()
	written := dp.Written()
	requireQuiet(t, func() {
		repairs, err := sync()
		require.NoError(t, err)
		require.Empty(t, repairs)
	})
	require.Equal(t, written, dp.Written())
}

// requireQuiet asserts that what is done changes neither the generation of nftables, nor anything that one hears of who listens
// to all of rtnetlink.
func requireQuiet(t *testing.T, do func()) {
	t.Helper()
	ear, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	require.NoError(t, err)
	defer ear.Close()
	for group := uint32(1); group <= unix.RTNLGRP_STATS; group++ {
		if err := ear.JoinGroup(group); err != nil {
			require.ErrorIs(t, err, os.ErrNotExist, "join group %d", group)
		}
	}
	generation := tablesGeneration(t)
	do()
	require.Equal(t, generation, tablesGeneration(t), "a table was changed")
	run(t, "ip address add 127.9.9.9/32 dev lo") // is heard after what may have been done
	defer run(t, "ip address delete 127.9.9.9/32 dev lo")
	heard, err := ear.Receive()
	require.NoError(t, err)
	require.Equal(t, netlink.HeaderType(unix.RTM_NEWADDR), heard[0].Header.Type, "what was done caused %+v", heard[0])
	require.Equal(t, uint32(1), binary.NativeEndian.Uint32(heard[0].Data[4:]), "what was done caused %+v", heard[0])
}

// tablesGeneration is the number of the last transaction of nftables (NFT_MSG_GETGEN).
func tablesGeneration(t *testing.T) uint32 {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	require.NoError(t, err)
	defer c.Close()
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request}, Data: make([]byte, 4),
	})
	require.NoError(t, err)
	require.NotEmpty(t, answers)
	attrs, err := netlink.UnmarshalAttributes(answers[0].Data[4:])
	require.NoError(t, err)
	require.Equal(t, uint16(unix.NFTA_GEN_ID), attrs[0].Type)
	return binary.BigEndian.Uint32(attrs[0].Data)
}
