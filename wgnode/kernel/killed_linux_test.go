//go:build linux

package kernel_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/kernel"
)

const (
	// serveVariable asks TestServe for a node, as JSON of nodeOrder.
	serveVariable = "WAYLUME_TEST_SERVE"
	serving       = "the node has started"
)

// nodeOrder says which node is wanted: its store is a file, so that one process can go on where another ended.
type nodeOrder struct {
	Config kernel.Config
	Port   uint16
	Store  string
	// Period is how often the node syncs and writes usage to its store. 0: when it closes, and not before.
	Period time.Duration
}

// start starts the node.
func (o nodeOrder) start(ctx context.Context) (*wgnode.Node, *kernel.Dataplane, error) {
	dp, err := kernel.New(o.Config)
	if err != nil {
		return nil, nil, err
	}
	store, err := boltstore.Open(o.Store, boltstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	node, err := wgnode.New(wgnode.Config{
		Endpoint: "127.0.0.1", ListenPort: o.Port, Dataplane: dp, Store: store,
		SyncPeriod: cmp.Or(o.Period, time.Hour), CheckpointPeriod: cmp.Or(o.Period, time.Hour),
	})
	if err != nil {
		return nil, nil, err
	}
	return node, dp, node.Start(ctx)
}

// TestServe is the process that TestKilled kills.
func TestServe(t *testing.T) {
	asked := os.Getenv(serveVariable)
	if asked == "" {
		t.Skip("only in a process of its own, which TestKilled starts")
	}
	var order nodeOrder
	require.NoError(t, json.Unmarshal([]byte(asked), &order))
	node, _, err := order.start(t.Context())
	require.NoError(t, err)
	fmt.Println(serving)
	_, err = io.Copy(io.Discard, os.Stdin) // its end is that of the process that started this one
	require.NoError(t, err)
	require.NoError(t, node.Close())
}

// serveElsewhere has another process start a node, and returns how to kill it.
func serveElsewhere(t *testing.T, order nodeOrder) (kill func()) {
	t.Helper()
	asked, err := json.Marshal(order)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestServe$")
	cmd.Env = append(os.Environ(), serveVariable+"="+string(asked))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS} // TestMain mounts
	var complaints strings.Builder
	cmd.Stderr = &complaints
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := false
	t.Cleanup(func() {
		if _ = stdin.Close(); !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	lines := bufio.NewScanner(stdout)
	var said strings.Builder
	for lines.Scan() && lines.Text() != serving {
		said.WriteString(lines.Text() + "\n")
	}
	require.Equal(t, serving, lines.Text(), "%s%s", &said, &complaints)
	return func() {
		ended = true
		require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
	}
}

// TestKilled has a node served by one process after another. The first leaves all in the kernel, the second is killed by SIGKILL,
// and the third goes on: with what was counted, and with the limits and the caps that held all the time. With the module peers
// do not notice: packets cross while nobody runs, in the session that there was.
func TestKilled(t *testing.T) { eachDriver(t, testKilled) }

func testKilled(t *testing.T, driver kernel.Driver) {
	r := newRig(t, driver)
	t.Cleanup(r.closeIfFailed)
	loadStrangers(t)
	s := &survival{r: r, lasting: driver == kernel.DriverModule, server: r.serve(t, server4, server6)}
	order := nodeOrder{Config: r.cfg, Port: freePort(t), Store: filepath.Join(t.TempDir(), "node.db")}
	order.Config.KeepOnClose = true
	node, _, err := order.start(t.Context())
	require.NoError(t, err)
	s.add(t, node, &s.limited, wgnode.PeerSpec{SpeedLimit: shaping.Limit{Download: slow, Upload: slow}})
	s.add(t, node, &s.capped, wgnode.PeerSpec{DataCap: quota.Cap{Bytes: spent, Thresholds: []int{}}})
	s.connect(t)
	s.requireCrossing(t)
	require.NoError(t, node.Close())
	s.requireAlone(t)

	var kill func()
	serve := func() { kill = serveElsewhere(t, order) }
	if s.lasting {
		requireQuiet(t, serve) // what is right stays as it is
	} else {
		serve()
	}
	s.connect(t)
	s.requireCrossing(t)
	if !s.lasting {
		s.requireLimits(t)
	}
	kill()
	s.requireAlone(t)
	if s.lasting {
		s.requireLimits(t)
	}
	run(t, "nft insert rule "+inetTable+" forward accept", "nft add chain "+inetTable+" stray",
		"nft delete element "+inetTable+" peers4 { "+s.limited.peer.Addrs[0].String()+" }", "tc qdisc delete dev wl0-up root")
	outside := strangersNow(t)
	limited, capped := s.limited.counters(t), s.capped.counters(t)

	order.Config.KeepOnClose = false
	node, dp, err := order.start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	require.Equal(t, outside, strangersNow(t))
	require.NotContains(t, tablesNow(t)[0], "stray")
	usage, err := node.Usage(t.Context(), wgnode.OfPeer(s.limited.peer.PublicKey))
	require.NoError(t, err)
	require.Equal(t, limited, usage.Counters, "counters did not go on")
	usage, err = node.Usage(t.Context(), wgnode.OfPeer(s.capped.peer.PublicKey))
	require.NoError(t, err)
	require.Equal(t, capped, usage.Counters, "counters did not go on")
	require.True(t, usage.Depleted)
	s.connect(t)
	s.requireCrossing(t)
	s.requireSpent(t)
	s.requireLimited(t)
	requireWritesNothing(t, dp, func() ([]wgnode.Repair, error) { return node.Sync(t.Context()) })
	s.close()
	require.NoError(t, node.Close())
	require.Equal(t, outside, strangersNow(t))
	output(t, "nft", "flush", "ruleset")
	require.NoError(t, r.Close())
}
