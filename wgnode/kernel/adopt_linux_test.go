//go:build linux

package kernel_test

import (
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// Tables of the dataplane, and those that strangers have beside them.
const (
	inetTable   = "inet waylume_" + rigInterface
	netdevTable = "netdev waylume_" + rigInterface
	strangers   = `
table inet filter {
	set mine { type ipv4_addr; elements = { 10.0.0.2 } }
	counter classes4 { }
	chain forward { type filter hook forward priority 10; policy accept; ip saddr @mine counter accept; }
}
table netdev other { }
`
)

// newAdopted makes a neighbour with limits and quotas of every kind, whose dataplane leaves all when it closes.
func newAdopted(t *testing.T, r *rig) *neighbour {
	t.Helper()
	r.cfg.KeepOnClose = true
	n := newNeighbour(t, r.cfg, 10)
	limit := shaping.Limit{Download: 10_000_000, Upload: 20_000_000}
	n.state.SpeedLimit = shaping.Limit{Download: 500_000_000}
	n.state.Accounts = []wgnode.AccountState{{ID: "account", SpeedLimit: limit, Budget: quota.Budget{Limited: true, Limit: 1 << 30}}}
	first := &n.state.Peers[0]
	first.SpeedLimit, first.Budget = limit, quota.Budget{Limited: true, Limit: 1 << 30, Mark: 1 << 29}
	addrs := first.Addrs
	for i := range 6 {
		private, err := wgtypes.GeneratePrivateKey()
		require.NoError(t, err)
		addrs = []netip.Addr{addrs[0].Next(), addrs[1].Next()}
		p := wgnode.PeerState{PublicKey: private.PublicKey(), Addrs: addrs}
		if i%2 == 0 {
			p.Account = "account"
		}
		if i%3 == 0 {
			p.SpeedLimit = shaping.Limit{Download: shaping.Rate(1_000_000 * (i + 1))}
		}
		n.state.Peers = append(n.state.Peers, p)
	}
	return n
}

// rest waits until nothing of the dataplane's own is under way, and nothing is to be mended.
func (n *neighbour) rest(t *testing.T) {
	t.Helper()
	var before kernel.Written
	var seen []string
	require.True(t, (&watched{}).comes(func() bool {
		_, err := n.dp.Sync(t.Context(), n.state)
		require.NoError(t, err)
		last, saw := before, seen
		before, seen = n.dp.Written(), tablesNow(t)
		return n.dp.Classes().Ready >= kernel.Reserve && last == before && slices.Equal(saw, seen)
	}), "the dataplane goes on writing")
}

// TestAdopt closes a dataplane that leaves all behind, and starts another over it: what is right stays as it is, with what was
// counted; what is wrong is mended, what is nobody's goes, and what is somebody else's is not looked at.
func TestAdopt(t *testing.T) { eachDriver(t, testAdopt) }

func testAdopt(t *testing.T, driver kernel.Driver) {
	for name, spoil := range map[string]bool{"as it was left": false, "spoiled": true} {
		if vm.Inside() && !spoil {
			continue // TestKilled shows that too, and each takes seconds there
		}
		t.Run(name, func(t *testing.T) {
			r := newRig(t, driver)
			t.Cleanup(r.closeIfFailed)
			loadStrangers(t)
			r.serve(t, server4, server6)
			n := newAdopted(t, r)
			n.start(t)
			p := newPhone(t, r, n.client)
			n.requireWorking(t, p)
			for range 20 {
				p.flood()
			}
			time.Sleep(500 * time.Millisecond) // what waits in queues is counted yet
			p.close()
			n.rest(t)
			first := n.stats(t)
			require.NotZero(t, first.Peers[0].Counters.Upload)
			tables, classes := tablesNow(t), classesNow(t)
			require.NoError(t, n.dp.Close())
			requireSameLines(t, tables[:1], tablesNow(t)[:1])
			if spoil {
				spoilTables(t, n)
				run(t, "ip link set wl0-up down", "tc qdisc replace dev wl0-up parent "+n.class(t)+" handle 77: pfifo",
					"tc class add dev wl0-up parent 1: classid 1:fff0 htb rate 1mbit")
			}
			outside := strangersNow(t)

			// What the node knows is older than what the kernel has.
			n.state.Peers[0].Counters = quota.Counters{Upload: first.Peers[0].Counters.Upload - 1}
			n.again(t, r.cfg)
			n.start(t)
			n.rest(t)
			requireSameLines(t, tables, tablesNow(t))
			requireSameLines(t, classes, classesNow(t))
			require.Equal(t, first.Peers, n.stats(t).Peers, "counters did not go on")
			require.Equal(t, first.Accounts, n.stats(t).Accounts, "counters did not go on")
			require.Equal(t, outside, strangersNow(t))
			p = newPhone(t, r, n.client)
			n.requireWorking(t, p)
			p.close()
			require.Greater(t, n.stats(t).Peers[0].Counters.Upload, first.Peers[0].Counters.Upload)

			// The last one takes all away.
			require.NoError(t, n.dp.Close())
			r.cfg.KeepOnClose = false
			n.again(t, r.cfg)
			n.start(t)
			require.NoError(t, n.dp.Close())
			require.Equal(t, outside, strangersNow(t))
			output(t, "nft", "flush", "ruleset")
			require.NoError(t, r.Close())
		})
	}
}

// TestSync has Sync mend what somebody did to a dataplane that runs, and then write nothing.
func TestSync(t *testing.T) { eachDriver(t, testSync) }

func testSync(t *testing.T, driver kernel.Driver) {
	r := newRig(t, driver)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	loadStrangers(t)
	n := newAdopted(t, r)
	r.cfg.KeepOnClose = false
	n.again(t, r.cfg)
	n.start(t)
	n.rest(t)
	requireWritesNothing(t, n.dp, n.sync(t))
	tables, classes, links := tablesNow(t), classesNow(t), linksNow(t)
	outside := strangersNow(t)
	spoilTables(t, n)
	_, addr, _ := strings.Cut(output(t, "nft", "-s", "list", "map", "netdev", "waylume_wl0", "classes4"), "elements = { ")
	element, _, _ := strings.Cut(addr, " ")
	changed := n.class(t)
	run(t, "nft delete element "+netdevTable+" classes4 { "+element+" }", "nft add element "+netdevTable+" classes4 { "+element+" : 1:ffee }",
		"ip address add 192.0.2.99/32 dev wl0", "ip link set wl0 mtu 1300", "ip link set wl0-up txqueuelen 7",
		"tc class add dev wl0 parent 1: classid 1:fff0 htb rate 1mbit", "tc class add dev wl0-up parent 1: classid 1:fff1 htb rate 1mbit",
		"tc class change dev wl0 parent 1:1 classid "+changed+" htb rate 77mbit")
	repairs, err := n.dp.Sync(t.Context(), n.state)
	require.NoError(t, err)
	require.Contains(t, repairs, wgnode.Repair{What: "wl0: class " + changed + " has other parameters"})
	for _, repair := range repairs {
		t.Log(repair.What, repair.Subject)
	}
	n.rest(t)
	requireSameLines(t, tables, tablesNow(t))
	requireSameLines(t, classes, classesNow(t))
	requireSameLines(t, links, linksNow(t))
	require.Equal(t, outside, strangersNow(t))
	requireWritesNothing(t, n.dp, n.sync(t))
	foreign, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	require.NoError(t, n.dp.DisturbKey(t.Context(), foreign))
	repairs, err = n.dp.Sync(t.Context(), n.state)
	require.NoError(t, err)
	require.Equal(t, []wgnode.Repair{{What: "put the node's private key back into the device"}}, repairs)
	key, _, err := n.dp.DeviceKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, n.cfg.PrivateKey, key)
	peers, err := n.dp.DevicePeers(t.Context())
	require.NoError(t, err)
	require.Len(t, peers, len(n.state.Peers))
	require.NoError(t, n.dp.SetKeys(t.Context(), foreign, wgtypes.Key{}))
	requireWritesNothing(t, n.dp, n.sync(t))
	key, _, err = n.dp.DeviceKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, foreign, key, "what the node asked for is not mended away")
	require.NoError(t, n.dp.Close())
	require.Equal(t, outside, strangersNow(t))
	output(t, "nft", "flush", "ruleset")
}

func (n *neighbour) sync(t *testing.T) func() ([]wgnode.Repair, error) {
	return func() ([]wgnode.Repair, error) { return n.dp.Sync(t.Context(), n.state) }
}

func (n *neighbour) stats(t *testing.T) wgnode.Stats {
	t.Helper()
	query := wgnode.StatsQuery{Accounts: []string{"account"}}
	for _, p := range n.state.Peers {
		query.Peers = append(query.Peers, p.PublicKey)
	}
	stats, err := n.dp.Stats(t.Context(), query)
	require.NoError(t, err)
	return stats
}

// class is the first peer's.
func (n *neighbour) class(t *testing.T) string {
	t.Helper()
	addr := regexp.QuoteMeta(n.state.Peers[0].Addrs[0].String())
	classes := output(t, "nft", "-s", "list", "map", "inet", "waylume_wl0", "classes4")
	m := regexp.MustCompile(`\b` + addr + ` : (1:[0-9a-f]+)`).FindStringSubmatch(classes)
	require.NotNil(t, m, classes)
	return m[1]
}

func loadStrangers(t *testing.T) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(strangers)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() { output(t, "nft", "flush", "ruleset") })
}

func strangersNow(t *testing.T) []string {
	t.Helper()
	return []string{output(t, "nft", "-a", "-s", "list", "table", "inet", "filter"), output(t, "nft", "-a", "-s", "list", "table", "netdev", "other")}
}

func run(t *testing.T, commands ...string) {
	t.Helper()
	for _, command := range commands {
		output(t, strings.Fields(command)...)
	}
}

// spoilTables does to the table what a stranger might.
func spoilTables(t *testing.T, n *neighbour) {
	t.Helper()
	addr, addr6, other := n.state.Peers[0].Addrs[0].String(), n.state.Peers[0].Addrs[1].String(), n.state.Peers[1].Addrs[0].String()
	run(t, "nft add element "+inetTable+" peers4 { 10.0.99.99 }", "nft add element "+inetTable+" blocked4 { "+addr+" }",
		"nft delete element "+inetTable+" peers4 { "+other+" }",
		"nft delete element "+inetTable+" classes6 { "+addr6+" }", "nft add element "+inetTable+" classes6 { "+addr6+" : 1:ffee }",
		"nft insert rule "+inetTable+" forward accept", "nft add rule "+inetTable+" to_peer4 drop",
		"nft delete rule "+inetTable+" forward handle "+handles(t, inetTable, "forward")[1],
		"nft add chain "+inetTable+" stray", "nft add rule "+inetTable+" stray jump to_peer",
		"nft add set "+inetTable+" strays { type ipv4_addr; }", "nft add counter "+inetTable+" stray",
		"nft add quota "+inetTable+" strayquota { over 5 bytes; }",
		"nft add chain "+inetTable+" hooked { type filter hook forward priority -5; policy drop; }")
}
