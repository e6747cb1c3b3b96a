//go:build linux

package kernel_test

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

const (
	// loaded is how many peers TestLoad adds, loadStep of them in one change. The kernel walks all classes for each that is added.
	loaded   = 5_000
	loadStep = 500
)

// TestLoad adds thousands of peers, each with a limit and a cap, to a dataplane that runs, and counts what the kernel and the
// device hold of them; then it removes them, and nothing is held of them but classes, which are used again.
func TestLoad(t *testing.T) {
	netns.Require(t)
	if raceEnabled { // with the detector it takes four minutes
		runUnraced(t)
		return
	}
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	r.serve(t, server4, server6)
	n := newNeighbour(t, r.cfg, 10)
	n.cfg.Pool = append(n.cfg.Pool, netip.MustParsePrefix("fd77::/64"))
	n.start(t)
	p := newPhone(t, r, n.client)
	n.requireWorking(t, p)
	before := n.held(t)
	require.Equal(t, 1, before["device peers"])

	var peers []wgnode.PeerState
	var keys []wgtypes.Key
	for i := range loaded {
		peers = append(peers, benchPeer(i+1)) // the first has the phone's address
		keys = append(keys, peers[i].PublicKey)
	}
	add := func(some []wgnode.PeerState) {
		require.NoError(t, n.dp.Apply(t.Context(), wgnode.Change{SetPeers: some}))
	}
	began := time.Now()
	for some := range slices.Chunk(peers, loadStep) {
		add(some)
	}
	t.Logf("%d peers, %d at a time, were added in %v", loaded, loadStep, time.Since(began).Round(time.Millisecond))
	want := maps.Clone(before)
	for what := range perPeer() {
		want[what] += perPeer()[what] * loaded
	}
	require.Equal(t, want, n.held(t))
	down, up := shapedClasses(t)
	require.Equal(t, [2]int{loaded, loaded}, [2]int{down, up})
	n.requireWorking(t, p)

	began = time.Now()
	for some := range slices.Chunk(keys, loadStep) {
		require.NoError(t, n.dp.Apply(t.Context(), wgnode.Change{RemovePeers: some}))
	}
	t.Logf("they were removed in %v", time.Since(began).Round(time.Millisecond))
	require.Equal(t, before, n.held(t))
	n.requireWorking(t, p)
	add(peers[:loadStep])
	down, up = shapedClasses(t)
	require.Equal(t, [2]int{loaded, loaded}, [2]int{down, up}, "classes are not used again")
	p.close()
	require.NoError(t, n.dp.Close())
}

// perPeer is what a peer of benchPeer's adds: an address of each family, and quotas to limit and to watch both directions.
func perPeer() map[string]int {
	held := map[string]int{
		"device peers": 1, "counter": 2, "quota": 2, netdevTable + " classes4": 1, netdevTable + " classes6": 1,
	}
	for _, set := range []string{"peers", "classes", "limit_up", "limit_down", "watch_up", "watch_down", "count_up", "count_down"} {
		held[inetTable+" "+set+"4"], held[inetTable+" "+set+"6"] = 1, 1
	}
	return held
}

// held counts the peers of the device, the objects of the tables by kind, and the elements of each set and map, as nft lists them.
func (n *neighbour) held(t *testing.T) map[string]int {
	t.Helper()
	peers, err := n.dp.DevicePeers(t.Context())
	require.NoError(t, err)
	held := map[string]int{"device peers": len(peers), "counter": 0, "quota": 0}
	for _, table := range []string{inetTable, netdevTable} {
		var listing struct {
			Nftables []map[string]struct {
				Name string
				Elem []json.RawMessage
			}
		}
		text := output(t, append([]string{"nft", "-j", "list", "table"}, strings.Fields(table)...)...)
		require.NoError(t, json.Unmarshal([]byte(text), &listing))
		for _, entry := range listing.Nftables {
			for kind, object := range entry {
				switch kind {
				case "set", "map":
					held[table+" "+object.Name] = len(object.Elem)
				case "counter", "quota":
					held[kind]++
				}
			}
		}
	}
	return held
}

// shapedClasses counts the classes that have the limits of benchPeer's peers.
func shapedClasses(t *testing.T) (download, upload int) {
	t.Helper()
	count := func(device, ceil string) int {
		classes := make(map[string]bool) // the list may have one twice, when classes are added meanwhile
		for line := range strings.Lines(output(t, "tc", "class", "show", "dev", device)) {
			if strings.Contains(line, " ceil "+ceil+" ") {
				classes[line] = true
			}
		}
		return len(classes)
	}
	return count(rigInterface, "20Mbit"), count(rigInterface+"-up", "10Mbit")
}

// runUnraced runs the test in a process without the race detector, in the same network namespace.
func runUnraced(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), vm.BuildTests(t), "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS} // TestMain mounts
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	require.Contains(t, string(out), "--- PASS: "+t.Name()+" ")
}
