package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// problems is what the dataplane says is wrong.
func (n *neighbour) problems(tb testing.TB) []wgnode.HealthProblem {
	tb.Helper()
	stats, err := n.dp.Stats(tb.Context(), wgnode.StatsQuery{Health: true})
	require.NoError(tb, err)
	return stats.Problems
}

// requireProblem asserts that one thing is wrong.
func (n *neighbour) requireProblem(tb testing.TB, kind wgnode.ProblemKind, words ...string) {
	tb.Helper()
	list := n.problems(tb)
	require.Len(tb, list, 1)
	require.Equal(tb, kind, list[0].Kind)
	for _, w := range words {
		require.Contains(tb, list[0].What, w)
	}
}

// mend mends what differs, and returns what was.
func (n *neighbour) mend(tb testing.TB) (what []string) {
	tb.Helper()
	repairs, err := n.dp.Sync(tb.Context(), n.state)
	require.NoError(tb, err)
	for _, r := range repairs {
		what = append(what, r.What)
	}
	return what
}

// TestHealth has one thing after another go wrong with the host.
func TestHealth(t *testing.T) {
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	output(t, "ip", "link", "add", "out0", "type", "ifb")
	t.Cleanup(func() { output(t, "ip", "link", "delete", "out0") })
	output(t, "ip", "link", "set", "out0", "up")
	r.cfg.Uplink = "out0"
	n := newNeighbour(t, r.cfg, 10)
	n.start(t)
	require.Empty(t, n.problems(t))

	output(t, "ip", "link", "delete", rigInterface)
	n.requireProblem(t, wgnode.InterfaceDown, "wl0 is gone")
	require.Contains(t, n.mend(t), "the interface was gone")
	require.Empty(t, n.problems(t))
	output(t, "ip", "link", "set", rigInterface+"-up", "down")
	output(t, "ip", "link", "set", rigInterface, "down")
	n.requireProblem(t, wgnode.InterfaceDown, "wl0 is down, and wl0-up is down")
	n.mend(t)
	require.Empty(t, n.problems(t))

	require.NoError(t, os.WriteFile(forward4, []byte("0"), 0o644))
	n.requireProblem(t, wgnode.ForwardingOff, "net.ipv4.ip_forward is not 1")
	require.Contains(t, n.mend(t), "set net.ipv4.ip_forward to 1")
	require.Empty(t, n.problems(t))

	output(t, "ip", "link", "set", "out0", "down")
	n.requireProblem(t, wgnode.UplinkDown, "out0", "set it up")
	output(t, "ip", "link", "set", "out0", "up")
	require.Empty(t, n.problems(t))

	owner := own(t, "add table inet mine { chain f { type filter hook forward priority 0; policy drop; }; }")
	w := &watched{}
	require.True(t, w.comes(func() bool { return len(n.problems(t)) > 0 }))
	n.requireProblem(t, wgnode.FirewallCloses, "(mine)", "wl0")
	owner()
	require.True(t, w.comes(func() bool { return len(n.problems(t)) == 0 }))
	require.NoError(t, n.dp.Close())
}

// own has a process of its own make a table that nobody else can change; it goes with the process.
func own(t *testing.T, add string) (end func()) {
	t.Helper()
	owner := exec.Command("nft", "-i")
	in, err := owner.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	_, err = io.WriteString(in, strings.Replace(add, "{", "{ flags owner;", 1)+"\n")
	require.NoError(t, err)
	return func() {
		require.NoError(t, in.Close())
		require.NoError(t, owner.Wait())
	}
}

// hearer is a neighbour with a phone, whose events of quotas go amiss.
func hearer(t *testing.T) (*neighbour, *phone) {
	t.Helper()
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	r.serve(t, server4, server6)
	n := newNeighbour(t, r.cfg, 10)
	n.dp.SetPoll(50 * time.Millisecond)
	n.dp.SetHearingRest(10 * time.Second)
	n.state.Peers[0].Budget = quota.Budget{Limited: true, Limit: 1 << 30, Mark: 1 << 16}
	n.start(t)
	return n, newPhone(t, r, n.client)
}

// TestMissedEvents makes the dataplane deaf to its tables: it finds by itself that a quota is used up, and says that it had to.
func TestMissedEvents(t *testing.T) {
	n, p := hearer(t)
	w := &watched{phone: p}
	require.NoError(t, n.dp.DeafenTables())
	began := time.Now()
	require.True(t, w.comes(func() bool {
		p.say(floodRequest)
		return len(n.problems(t)) > 0
	}))
	told := time.Now()
	n.requireProblem(t, wgnode.QuotaEventsLost, "1 quotas were found")
	since := n.problems(t)[0].Since
	require.WithinRange(t, since, began, told)
	require.True(t, w.comes(func() bool { return len(n.problems(t)) == 0 }), "it is over a while later")
	n.retire(t, p)
}

// TestHeardEvents has the quota be found before and after its event comes, which is no problem.
func TestHeardEvents(t *testing.T) {
	n, p := hearer(t)
	w := &watched{phone: p}
	require.True(t, w.comes(func() bool {
		p.say(floodRequest)
		stats, err := n.dp.Stats(t.Context(), wgnode.StatsQuery{All: true})
		require.NoError(t, err)
		return stats.Peers[0].Counters.Download > 1<<16
	}))
	time.Sleep(6 * time.Second) // longer than an event may be on its way
	require.Empty(t, n.problems(t))
	n.retire(t, p)
}

// TestLostEvents has more happen to tables than the socket holds.
func TestLostEvents(t *testing.T) {
	n, p := hearer(t)
	w := &watched{phone: p}
	require.Empty(t, n.problems(t))
	shrinkMonitor(t)
	var script strings.Builder
	script.WriteString("add table inet crowd\n")
	for i := range 5000 {
		fmt.Fprintf(&script, "add chain inet crowd c%d\n", i)
	}
	script.WriteString("delete table inet crowd\n")
	began := time.Now()
	require.True(t, w.comes(func() bool {
		cmd := exec.CommandContext(t.Context(), "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script.String())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return len(n.problems(t)) > 0
	}))
	told := time.Now()
	n.requireProblem(t, wgnode.QuotaEventsLost, "events overflowed", "0 quotas")
	require.WithinRange(t, n.problems(t)[0].Since, began, told)
	require.True(t, w.comes(func() bool { return len(n.problems(t)) == 0 }), "it is over a while later")
	n.retire(t, p)
}

// shrinkMonitor makes this process's sockets that hear of tables hold as little as there can be.
func shrinkMonitor(t *testing.T) {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	found := 0
	for _, f := range files {
		var fd int
		_, err := fmt.Sscan(f.Name(), &fd)
		require.NoError(t, err)
		addr, err := unix.Getsockname(fd)
		if nl, ok := addr.(*unix.SockaddrNetlink); err != nil || !ok || nl.Groups != 1<<(unix.NFNLGRP_NFTABLES-1) {
			continue
		}
		if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.NETLINK_NETFILTER {
			continue
		}
		found++
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0))
	}
	require.Equal(t, 1, found)
}

// TestNodeHealth takes a node's interface, and its name, so that it cannot be mended; and has forwarding turned off.
func TestNodeHealth(t *testing.T) {
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	dp, err := kernel.New(r.cfg)
	require.NoError(t, err)
	node, err := wgnode.New(wgnode.Config{Endpoint: "127.0.0.1", ListenPort: freePort(t), Dataplane: dp})
	require.NoError(t, err)
	events := node.Subscribe()
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	problems := func() map[wgnode.ProblemKind]wgnode.HealthProblem {
		status, err := node.Status(t.Context())
		require.NoError(t, err)
		found := make(map[wgnode.ProblemKind]wgnode.HealthProblem)
		for _, p := range status.Problems {
			found[p.Kind] = p
		}
		return found
	}
	// over waits for the event that ends a problem.
	over := func(p wgnode.HealthProblem) {
		for e := range events.All(t.Context()) {
			if e.Kind == wgnode.ProblemOver && e.Problem.Kind == p.Kind && e.Problem.Since.Equal(p.Since) {
				return
			}
		}
		require.Fail(t, "the node ended")
	}
	require.Empty(t, problems())
	began := time.Now()
	output(t, "ip", "link", "add", "thief", "type", "ifb")
	// The node makes it anew at once: until the thief is quicker.
	w := &watched{}
	require.True(t, w.comes(func() bool {
		cmd := exec.CommandContext(t.Context(), "ip", "-batch", "-")
		cmd.Stdin = strings.NewReader("link delete wl0\nlink set thief name wl0\n")
		return cmd.Run() == nil
	}))
	var failing, down wgnode.HealthProblem
	require.True(t, w.comes(func() bool {
		now := problems() // beside what was mended before
		failing, down = now[wgnode.DataplaneFailing], now[wgnode.InterfaceDown]
		return strings.Contains(failing.What, "the interface name is taken") && down.Kind != 0
	}))
	for _, p := range []wgnode.HealthProblem{failing, down} {
		require.WithinRange(t, p.Since, began, time.Now(), p.Kind)
	}
	_, err = node.AllPeerStats(t.Context())
	require.ErrorIs(t, err, link.ErrNoLink)
	output(t, "ip", "link", "delete", rigInterface)
	over(failing)
	over(down)

	// A sync that was under way may have turned it on again before anybody looked: then it is turned off once more.
	off := time.Now()
	var turned time.Time
	for {
		if time.Since(turned) > 3*time.Second {
			require.Less(t, time.Since(off), recovery)
			require.NoError(t, os.WriteFile(forward4, []byte("0"), 0o644))
			turned = time.Now()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		e, err := events.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		require.NoError(t, err)
		if e.Kind == wgnode.ProblemBegan && e.Problem.Kind == wgnode.ForwardingOff {
			require.WithinRange(t, e.Problem.Since, off, time.Now())
			over(e.Problem)
			break
		}
	}
	require.True(t, w.comes(func() bool { return forwarding(t) == "1 1" }))
}

// BenchmarkHealth is what looking for problems costs the kernel dataplane, whatever the number of peers.
func BenchmarkHealth(b *testing.B) {
	r := newRig(b, kernel.DriverTUN)
	b.Cleanup(func() { require.NoError(b, r.Close()) })
	n := newNeighbour(b, r.cfg, 10)
	n.start(b)
	for b.Loop() {
		require.Empty(b, n.problems(b))
	}
	b.StopTimer()
	require.NoError(b, n.dp.Close())
}
