package wgnode_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// usageChildEnv tells TestKilledWithUsageLog to be the child that is killed, on a state in the directory that it names.
const usageChildEnv = "WGNODE_TEST_USAGE_CHILD"

// tellingLog says what it has, once it has it: "logged KIND NAME SEQUENCE BYTES".
type tellingLog struct{ wgnode.UsageLog }

func (l tellingLog) Append(ctx context.Context, at time.Time, readings []usagelog.Reading) error {
	return tell(l.UsageLog.Append(ctx, at, readings), readings)
}

func (l tellingLog) AppendSome(ctx context.Context, at time.Time, readings []usagelog.Reading) error {
	return tell(l.UsageLog.AppendSome(ctx, at, readings), readings)
}

func tell(err error, readings []usagelog.Reading) error {
	if err == nil {
		for _, r := range readings {
			fmt.Println("logged", r.Subject.Kind, r.Subject.Name, r.Subject.Sequence, r.Counters.Download+r.Counters.Upload)
		}
	}
	return err
}

// usageNode is a node on a state and a usage log in a directory, which tells or does not.
func usageNode(t *testing.T, dir string, tells bool) (*wgnode.Node, *wgnodetest.Dataplane) {
	t.Helper()
	store, err := boltstore.Open(filepath.Join(dir, "node.db"), boltstore.Options{})
	require.NoError(t, err)
	log, err := usagelog.Open(filepath.Join(dir, "usage"), usagelog.Options{})
	require.NoError(t, err)
	d := wgnodetest.NewDataplane()
	cfg := wgnode.Config{Dataplane: d, Store: store, UsageLog: log}
	if tells {
		cfg.UsageLog = tellingLog{log}
	}
	node, err := wgnode.New(cfg)
	require.NoError(t, err)
	node.Hasten(10*time.Millisecond, 30*time.Millisecond)
	require.NoError(t, node.Start(t.Context()))
	return node, d
}

// usageChild has peers come, send, move, change keys and go, until it is killed. It says of each packet whose it is before it is
// sent: "sends SEQUENCE BYTES".
func usageChild(t *testing.T, dir string) {
	ctx := t.Context()
	node, d := usageNode(t, dir, true)
	for _, id := range []string{"a", "b"} {
		_, err := node.PutAccount(ctx, wgnode.AccountSpec{ID: id})
		require.NoError(t, err)
	}
	accounts := slices.Collect(node.Accounts(wgnode.ListOptions{}))
	fmt.Println("started")
	for {
		peers := slices.Collect(node.Peers(wgnode.ListOptions{}))
		if len(peers) < 4 {
			_, err := node.AddPeer(ctx, wgnode.PeerSpec{Account: accounts[rand.IntN(2)].ID})
			require.NoError(t, err)
			continue
		}
		p := peers[rand.IntN(len(peers))]
		switch rand.IntN(60) {
		case 0:
			require.NoError(t, node.RemovePeer(ctx, p.PublicKey))
		case 1, 2:
			_, err := node.RekeyPeer(ctx, p.PublicKey, wgnode.PeerKeys{})
			require.NoError(t, err)
		case 3:
			require.NoError(t, node.MovePeer(ctx, p.PublicKey, accounts[rand.IntN(2)].ID))
		default:
			packet := wgnodetest.UDPPacket(netip.AddrPortFrom(p.Addrs[0], 5000), netip.MustParseAddrPort("192.0.2.1:53"),
				make([]byte, rand.IntN(1000)))
			a, err := node.Account(p.Account)
			require.NoError(t, err)
			fmt.Println("sends", p.Sequence, len(packet))
			fmt.Println("sends", a.Sequence, len(packet))
			d.Peer(p.PublicKey).Send(packet)
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
	}
}

// TestKilledWithUsageLog kills a node again and again, each time with one log. What the log acknowledged it has; and it has of
// nobody more than was sent, however often the counters fell back to what had been stored.
func TestKilledWithUsageLog(t *testing.T) {
	if dir := os.Getenv(usageChildEnv); dir != "" {
		usageChild(t, dir)
		return
	}
	kills := 12
	if testing.Short() {
		kills = 3
	}
	dir := t.TempDir()
	began := time.Now()
	sent, logged := make(map[uint64]uint64), make(map[usagelog.Subject]uint64)
	for range kills {
		runUsageChild(t, dir, func(line string) {
			var s usagelog.Subject
			var kind string
			var n uint64
			switch {
			case strings.HasPrefix(line, "sends "):
				_, err := fmt.Sscanf(line, "sends %d %d", &s.Sequence, &n)
				require.NoError(t, err)
				sent[s.Sequence] += n
			case strings.HasPrefix(line, "logged "):
				_, err := fmt.Sscanf(line, "logged %s %s %d %d", &kind, &s.Name, &s.Sequence, &n)
				require.NoError(t, err)
				s.Kind = usagelog.Peer
				if kind == usagelog.Account.String() {
					s.Kind = usagelog.Account
				}
				logged[s] = max(logged[s], n)
			}
		})
		compareUsageLog(t, filepath.Join(dir, "usage"), began, sent, logged)
	}

	node, _ := usageNode(t, dir, false)
	var present []wgnode.Peer
	counted := make(map[uint64]uint64)
	for p := range node.Peers(wgnode.ListOptions{}) {
		usage, err := node.Usage(t.Context(), wgnode.OfPeer(p.PublicKey))
		require.NoError(t, err)
		counted[p.Sequence] = usage.Counters.Upload
		present = append(present, p)
	}
	require.NotEmpty(t, present)
	for _, p := range present {
		summary, err := node.UsageBetween(t.Context(), began, time.Now().Add(time.Hour), wgnode.OfPeer(p.PublicKey))
		require.NoError(t, err)
		var total uint64
		for _, u := range summary.Usages {
			total += u.Counters.Upload
		}
		require.GreaterOrEqual(t, total, counted[p.Sequence], "all that the node has stored is in the log")
		require.LessOrEqual(t, total, sent[p.Sequence])
	}
	require.NoError(t, node.Close())
	t.Logf("%d kills, %d subjects, %d of them peers that are there", kills, len(logged), len(present))
}

// runUsageChild runs a child, kills it at some time, and hands over all that it said.
func runUsageChild(t *testing.T, dir string, said func(line string)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWithUsageLog$", "-test.v")
	cmd.Env = append(cmd.Environ(), usageChildEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var timer *time.Timer
	var last []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last = append(last[max(0, len(last)-20):], lines.Text())
		if lines.Text() == "started" {
			timer = time.AfterFunc(time.Duration(rand.IntN(250_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
		said(lines.Text())
	}
	require.Error(t, cmd.Wait())
	require.NotNil(t, timer, strings.Join(last, "\n"))
	timer.Stop()
	require.False(t, cmd.ProcessState.Exited(), "it was killed: %s", strings.Join(last, "\n"))
}

// compareUsageLog holds a log to what was sent by, and what was acknowledged of, each subject: whole, and in spans that add up.
func compareUsageLog(t *testing.T, dir string, began time.Time, sent map[uint64]uint64, logged map[usagelog.Subject]uint64) {
	t.Helper()
	reader, err := usagelog.OpenReader(dir)
	require.NoError(t, err)
	ask := func(from, to time.Time) map[usagelog.Subject]uint64 {
		summary, err := reader.Usage(t.Context(), from, to, nil)
		require.NoError(t, err)
		require.Empty(t, summary.Damage)
		sums := make(map[usagelog.Subject]uint64)
		for _, u := range summary.Usages {
			sums[u.Subject] = u.Counters.Download + u.Counters.Upload
		}
		return sums
	}
	end := time.Now()
	whole := ask(began, end)
	parts := make(map[usagelog.Subject]uint64)
	step := end.Sub(began)/5 + 1
	for from := began; from.Before(end); from = from.Add(step) {
		for s, n := range ask(from, from.Add(step)) {
			parts[s] += n
		}
	}
	require.Equal(t, whole, parts)
	bySequence := make(map[uint64]uint64)
	for s, n := range whole {
		bySequence[s.Sequence] += n
	}
	for sequence, n := range bySequence {
		require.LessOrEqual(t, n, sent[sequence], "subject %d", sequence)
	}
	for s, n := range logged {
		require.GreaterOrEqual(t, whole[s], n, s)
	}
}
