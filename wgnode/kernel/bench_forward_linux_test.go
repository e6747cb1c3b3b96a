//go:build linux

package kernel_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/shaping/htb"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// rival is one way to forward, under the name of its metrics.
type rival struct {
	name  string
	road  *road
	rates [2]rates
}

// rates are packets per second, measured again and again.
type rates []float64

func (r rates) median() float64 { return slices.Sorted(slices.Values(r))[len(r)/2] }

// BenchmarkForward measures how many of the smallest packets the kernel forwards between two pairs of virtual Ethernet links, up
// from peers and down to them, with nothing encrypted:
//
//   - plain: nothing but the routes;
//   - queued: an HTB with one class for all, on the device for downloads and on an IFB for uploads;
//   - tracked: connection tracking, which whatever translates addresses has, and a rule that accepts what it knows;
//   - unlimited: the dataplane's tables with the most peers, none of which has a limit;
//   - kernel/N: the tables and classes of a dataplane with N peers, all with a limit and a cap;
//   - shell/N: what a script has for N peers.
//
// Packets are of as many flows as there are peers at most, one after the other: what is known of one has left the processor's
// caches when its next packet comes. All take turns, several times, and medians are reported. N is 10,000 at most: with more the
// shell takes the better part of an hour to load its rules.
func BenchmarkForward(b *testing.B) {
	netns.Require(b)
	for _, tool := range shellTools() {
		testutil.RequireTool(b, tool[0], tool[1])
	}
	const few, several, many = 10, 1000, 10_000
	sizes := slices.DeleteFunc(benchPeers(b), func(n int) bool { return n < several || n > many })
	sizes = append([]int{few}, sizes...)
	most := slices.Max(sizes)
	rivals := []*rival{
		{name: "plain", road: newRoad(b, most, most)},
		{name: "queued", road: queuedRoad(b, most)},
		{name: "tracked", road: trackedRoad(b, most)},
		{name: "unlimited", road: kernelRoad(b, most, most, shaping.Limit{})},
	}
	for _, n := range sizes {
		// More than what one peer gets here.
		r := &rival{name: fmt.Sprintf("kernel/%d", n), road: kernelRoad(b, n, most, shaping.Limit{Download: 1e9, Upload: 1e9})}
		rivals = append(rivals, r)
	}
	for _, n := range sizes[1:] {
		rivals = append(rivals, &rival{name: fmt.Sprintf("shell/%d", n), road: shellRoad(b, n, most)})
	}
	const turns, window = 9, 250 * time.Millisecond
	for b.Loop() {
		for turn := range turns {
			for i := range rivals { // who comes first changes
				r := rivals[(turn+i)%len(rivals)]
				for _, way := range []int{wayUp, wayDown} { // the flow begins at the peer
					rate, lost, err := r.road.rate(way, window)
					require.NoError(b, err)
					require.Less(b, lost, 0.1, "%s, way %d: packets did not come through", r.name, way)
					r.rates[way] = append(r.rates[way], rate)
				}
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, r := range rivals {
		b.ReportMetric(r.rates[wayUp].median()/1000, r.name+":up-kpps")
		b.ReportMetric(r.rates[wayDown].median()/1000, r.name+":down-kpps")
	}
	for _, r := range rivals {
		ifb, shaped := shellIFB, strings.HasPrefix(r.name, "shell/")
		if strings.HasPrefix(r.name, "kernel/") {
			ifb, shaped = roadIFB, true
		}
		for _, dev := range []string{tunnelLink, ifb} {
			if shaped {
				require.Less(b, r.road.unclassified(b, dev), uint64(100), "%s, %s: packets went by the classes", r.name, dev)
			}
		}
	}
}

// trackedRoad knows flows, and has no classes.
func trackedRoad(b *testing.B, flows int) *road {
	r := newRoad(b, flows, flows)
	r.host.Do(b, func() error {
		return shellStep{"nft", "-f", "-"}.run(strings.NewReader(`table ip tracked {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname ` + tunnelLink + ` accept
	}
}`))
	})
	return r
}

// queuedRoad has queues, and one class.
func queuedRoad(b *testing.B, flows int) *road {
	r := newRoad(b, flows, flows)
	r.host.Do(b, func() error {
		if err := shellPrepare(tunnelLink, 0, "", ""); err != nil {
			return err
		}
		for _, dev := range []string{tunnelLink, shellIFB} {
			err := runAll([]shellStep{
				strings.Fields("tc class add dev " + dev + " parent 1: classid 1:2 htb rate 10gbit quantum 60000"),
				strings.Fields("tc filter add dev " + dev + " parent 1: protocol ip prio 1 u32 match u32 0 0 flowid 1:2"),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return r
}

// roadIFB is where a dataplane's uploads are shaped.
const roadIFB = "ifb0"

// kernelRoad has the tables and the classes of a dataplane, for n peers of one limit each; with none it has no class.
func kernelRoad(b *testing.B, n, flows int, limit shaping.Limit) *road {
	r := newRoad(b, n, flows)
	r.do(b, shellStep{"ip", "link", "add", roadIFB, "type", "ifb"},
		shellStep{"ip", "link", "set", roadIFB, "up", "txqueuelen", "1000"},
		shellStep{"ip", "link", "set", tunnelLink, "txqueuelen", "1000"})
	ifb := link.Link{Name: roadIFB, Index: r.link(b, roadIFB).Index}
	planner, err := shaping.NewPlanner(wgnode.DefaultMTU, shaping.Tuning{})
	require.NoError(b, err)
	tree, err := htb.Open(b.Context(), htb.Config{
		Planner: planner, NetNS: r.host.FD(),
		Devices: []htb.Device{
			{Index: r.link(b, tunnelLink).Index, Name: tunnelLink, Direction: htb.Download},
			{Index: ifb.Index, Name: ifb.Name, Direction: htb.Upload},
		},
	})
	require.NoError(b, err)
	defer func() { require.NoError(b, tree.Close()) }() // the classes stay
	require.NoError(b, tree.Root(b.Context(), shaping.Limit{}))
	peers, classes := make([]wgnode.PeerState, n), make([]htb.Class, n)
	for i := range peers {
		peers[i] = benchPeer(i)
		peers[i].SpeedLimit = limit
		if limit != (shaping.Limit{}) {
			classes[i], err = tree.Claim(b.Context(), 0, limit)
			require.NoError(b, err)
		}
	}
	set, err := kernel.Ruleset(kernel.Config{Interface: tunnelLink, NAT: kernel.NATNone}, ifb, benchPool(), peers, classes)
	require.NoError(b, err)
	r.host.Do(b, func() error { return commit(set) })
	return r
}

// commit makes tables of a ruleset, in the calling thread's namespace.
func commit(set nft.Ruleset) (err error) {
	conn, err := nft.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	batch := &nft.Batch{}
	for table, content := range set {
		if _, err := nft.Diff(batch, table, content, nil); err != nil {
			return err
		}
	}
	return conn.Commit(batch)
}

// shellRoad has what a script has, for n peers.
func shellRoad(b *testing.B, n, flows int) *road {
	r := newRoad(b, n, flows)
	r.host.Do(b, func() error { return shellPrepare(tunnelLink, n, "1gbit", "1gbit") })
	return r
}
