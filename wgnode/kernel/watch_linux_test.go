//go:build linux

package kernel_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
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

const (
	// recovery bounds the wait for what must be mended, also in a virtual machine on a busy host.
	recovery = 30 * time.Second
	// slow is the watched peer's limit, each way, and slack what may pass at once.
	slow  = shaping.Rate(1_000_000)
	slack = 32_000
	// capped is what the watched peer may move: more than all disturbances together, and few seconds' download.
	capped = 40 << 20
	// cappedInVM is that where disturbances are few and packets slow.
	cappedInVM = 8 << 20
)

// servers4 and servers6 are hosts on the internet.
var (
	server4 = netip.MustParseAddrPort("192.0.2.10:7")
	server6 = netip.MustParseAddrPort("[2001:db8::10]:7")
)

// TestWatch has a stranger take away one thing after another of a node's, which nobody tells the node; and each time all is
// as it was, limits and caps included.
func TestWatch(t *testing.T) { eachDriver(t, testWatch) }

func testWatch(t *testing.T, driver kernel.Driver) {
	r := newRig(t, driver)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	dp, err := kernel.New(r.cfg)
	require.NoError(t, err)
	node, err := wgnode.New(wgnode.Config{
		Endpoint: "127.0.0.1", ListenPort: freePort(t), Dataplane: dp, SyncPeriod: time.Hour, // what is mended is mended because of an event
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	require.NoError(t, err)
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	w := &watched{t: t, dp: dp, limit: capped}
	if vm.Inside() {
		w.limit = cappedInVM
	}
	added, err := node.AddPeer(t.Context(), wgnode.PeerSpec{
		SpeedLimit: shaping.Limit{Download: slow, Upload: slow}, DataCap: quota.Cap{Bytes: w.limit, Thresholds: []int{}},
	})
	require.NoError(t, err)
	cfg, err := node.ClientConfig(added.PublicKey, added.PrivateKey)
	require.NoError(t, err)

	w.server, w.peer = r.serve(t, server4, server6), added.Peer
	w.connect = func() { w.phone = newPhone(t, r, cfg) }
	w.connect()
	require.True(t, w.comes(w.answers))
	w.requireLimited(t)
	intact := w.settled()
	inet, netdev := "inet waylume_"+rigInterface, "netdev waylume_"+rigInterface
	addr4, prefix4 := added.Addrs[0].String(), "10.0.0.0/8"
	for _, d := range []disturbance{
		{name: "interface deleted", commands: []string{"ip link delete wl0"}, endsSessions: true, inVM: true},
		{name: "IFB deleted", commands: []string{"ip link delete wl0-up"}},
		{name: "both deleted", commands: []string{"ip link delete wl0-up", "ip link delete wl0"}, endsSessions: true},
		{name: "interface down", commands: []string{"ip link set wl0 down"}},
		{name: "IFB down", commands: []string{"ip link set wl0-up down"}},
		{name: "IPv4 address removed", commands: []string{"ip address delete 10.0.0.1/8 dev wl0"}, inVM: true},
		{name: "IPv6 address removed", commands: []string{"ip -6 address delete fd77:6179:6c75:6d65::1/64 dev wl0"}},
		{name: "IPv4 route removed", commands: []string{"ip route delete " + prefix4 + " dev wl0"}},
		{name: "IPv6 route removed", commands: []string{"ip -6 route delete fd77:6179:6c75:6d65::/64 dev wl0"}},
		{name: "download queue removed", commands: []string{"tc qdisc delete dev wl0 root"}, inVM: true},
		{name: "upload queue removed", commands: []string{"tc qdisc delete dev wl0-up root"}, inVM: true},
		{name: "another download queue", commands: []string{"tc qdisc replace dev wl0 root pfifo"}},
		{name: "inet table flushed", commands: []string{"nft flush table " + inet}, inVM: true},
		{name: "netdev table flushed", commands: []string{"nft flush table " + netdev}},
		{name: "inet table deleted", commands: []string{"nft delete table " + inet}},
		{name: "netdev table deleted", commands: []string{"nft delete table " + netdev}},
		{name: "ruleset flushed", commands: []string{"nft flush ruleset"}},
		{name: "peer's element deleted", commands: []string{"nft delete element " + inet + " peers4 { " + addr4 + " }"}},
		{name: "upload class deleted", commands: []string{"nft delete element " + netdev + " classes4 { " + addr4 + " }"}},
		{name: "rules of a chain deleted", commands: []string{"nft flush chain " + inet + " meter_up4"}},
		{name: "one rule deleted", prepare: func() []string {
			return []string{"nft delete rule " + inet + " forward handle " + handles(t, inet, "forward")[0]}
		}},
	} {
		if (d.inVM || !vm.Inside()) && !t.Run(d.name, func(t *testing.T) { w.disturb(t, d, intact) }) {
			return // nor would it be as it was after another
		}
	}
	t.Run("the cap holds", w.useUp)
}

// disturbance is what a stranger does.
type disturbance struct {
	name         string
	commands     []string
	prepare      func() []string // in place of commands
	endsSessions bool            // they end with the device
	inVM         bool            // also in a virtual machine, where each takes seconds
}

// handles are those of a chain's rules.
func handles(tb testing.TB, table, chain string) (list []string) {
	tb.Helper()
	out := output(tb, append([]string{"nft", "-a", "-s", "list", "chain"}, append(strings.Fields(table), chain)...)...)
	for _, m := range regexp.MustCompile(`(?m)^\t\t[^t].*# handle (\d+)$`).FindAllStringSubmatch(out, -1) {
		list = append(list, m[1])
	}
	require.NotEmpty(tb, list, out)
	return list
}

// A port that the system chose is what clients know: an interface that comes back has it again.
func TestPortStays(t *testing.T) {
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	dp, err := kernel.New(r.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dp.Close()) })
	cfg := settings(t, 10)
	cfg.ListenPort = 0
	info, err := dp.Start(t.Context(), cfg, wgnode.State{})
	require.NoError(t, err)
	output(t, "ip", "link", "delete", rigInterface)
	_, err = dp.Sync(t.Context(), wgnode.State{})
	require.NoError(t, err)
	_, err = net.ListenUDP("udp", &net.UDPAddr{Port: int(info.ListenPort)})
	require.Error(t, err, "the interface listens at another port than %d", info.ListenPort)
}

// watched is a node with one peer that is looked at.
type watched struct {
	t       *testing.T
	dp      *kernel.Dataplane
	server  *server
	peer    wgnode.Peer
	limit   quota.Bytes // its cap
	phone   *phone
	connect func()
}

func (w *watched) answers() bool { return w.phone.reaches(server4) && w.phone.reaches(server6) }

// comes waits for what must come.
func (*watched) comes(condition func() bool) bool {
	for began := time.Now(); time.Since(began) < recovery; time.Sleep(time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}

func (w *watched) stats(tb testing.TB) wgnode.PeerStats {
	tb.Helper()
	stats, err := w.dp.Stats(tb.Context(), wgnode.StatsQuery{All: true})
	require.NoError(tb, err)
	require.Len(tb, stats.Peers, 1)
	return stats.Peers[0]
}

func (w *watched) disturb(t *testing.T, d disturbance, intact host) {
	before := w.stats(t).Counters
	commands := d.commands
	if d.prepare != nil {
		commands = d.prepare()
	}
	for _, command := range commands {
		output(t, strings.Fields(command)...)
	}
	began := time.Now()
	for now := w.looks(); !maps.Equal(intact, now); now = w.looks() {
		if time.Since(began) < recovery {
			continue
		}
		missing, extra := linesThatDiffer(slices.Collect(maps.Values(intact)), slices.Collect(maps.Values(now)))
		differs := fmt.Sprintf("it is not as it was: %q is %q now", missing, extra)
		require.True(t, vm.Inside(), differs)
		t.Log(differs) // seen once there, and not again: what peers get counts, which follows
		break
	}
	mended := time.Since(began)
	if d.endsSessions {
		w.phone.close()
		w.connect()
	}
	require.True(t, w.comes(w.answers), "nothing comes through")
	t.Logf("as it was after %v, traffic after %v", mended.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	after := w.stats(t).Counters
	require.Greater(t, after.Download, before.Download, "the counter went back")
	require.Greater(t, after.Upload, before.Upload, "the counter went back")
	w.requireLimited(t)
}

// looks is how what is the dataplane's looks, but for numbers that need not be the same after a repair: indexes and what is
// made from them, addresses of Ethernet, who made a route, generations of quotas, minor numbers of classes, and how many packets
// of the kernel's own, of multicast listeners, passed a queue.
func (w *watched) looks() host {
	h := make(host)
	for _, view := range []string{
		"ip -o address show dev wl0", "ip -4 route show dev wl0", "ip -6 route show dev wl0", "ip -o link show dev wl0",
		"ip -o link show dev wl0-up", "tc qdisc show dev wl0 root", "tc qdisc show dev wl0-up root",
		"nft -s list table inet waylume_wl0", "nft -s list table netdev waylume_wl0",
	} {
		command := strings.Fields(view)
		out, _ := exec.Command(command[0], command[1:]...).CombinedOutput() // what is not there is seen, too
		text := regexp.MustCompile(`(?m)^\d+: |_[lw]\d+\b|direct_packets_stat \d+|link/ether \S+|#[0-9a-f]{16}\b| proto \S+( scope link| metric \d+)?( src \S+)?`).ReplaceAllString(string(out), "#")
		text = regexp.MustCompile(`: 1:[0-9a-f]+`).ReplaceAllString(text, ": class")
		lines := strings.Split(text, "\n")
		if command[0] == "tc" {
			lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, " root ") })
		}
		slices.Sort(lines)
		h[view] = strings.Join(lines, "\n")
	}
	return h
}

// settled is how it looks once nothing changes any more.
func (w *watched) settled() (last host) {
	const still = time.Second
	require.True(w.t, w.comes(func() bool {
		before := last
		time.Sleep(still)
		last = w.looks()
		return maps.Equal(before, last)
	}), "it does not come to rest")
	return last
}

// requireLimited has more sent at once than the limit lets through for long.
func (w *watched) requireLimited(t *testing.T) {
	t.Helper()
	for way, flow := range map[string]struct {
		begin func()
		moved *atomic.Uint64
	}{
		"upload":   {w.phone.flood, &w.server.received},
		"download": {func() { w.phone.say(floodRequest) }, &w.phone.received},
	} {
		base, began := flow.moved.Load(), time.Now()
		flow.begin()
		require.True(t, w.comes(func() bool { return flow.moved.Load() > base }), way)
		time.Sleep(300 * time.Millisecond)
		moved, took := flow.moved.Load()-base, time.Since(began)
		require.LessOrEqual(t, float64(moved), slack+1.1*float64(slow)/8*took.Seconds(), "%s is not limited: in %v", way, took)
	}
}

// useUp downloads until nothing comes any more.
func (w *watched) useUp(t *testing.T) {
	began := time.Now()
	for !w.stats(t).Depleted && time.Since(began) < 3*recovery {
		w.phone.say(floodRequest)
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Second) // for what waits in queues
	require.False(t, w.answers(), "the cap is used up, and traffic goes on")
	stats := w.stats(t)
	t.Logf("%d of %d bytes", stats.Counters.Download+stats.Counters.Upload, w.limit)
	require.True(t, stats.Depleted)
	require.LessOrEqual(t, stats.Counters.Download+stats.Counters.Upload, uint64(w.limit))
}

// settings are those of a dataplane whose pool begins with a number, in both families.
func settings(tb testing.TB, number byte) wgnode.DataplaneConfig {
	tb.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(tb, err)
	addrs := []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{number, 0, 0, 1}), 16),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, number, 15: 1}), 64),
	}
	return wgnode.DataplaneConfig{
		PrivateKey: key, ListenPort: freePort(tb), MTU: wgnode.DefaultMTU, Addresses: addrs,
		Pool: []netip.Prefix{addrs[0].Masked(), addrs[1].Masked()}, Notify: func(wgnode.DataplaneEvent) {},
		Logger: slog.New(slog.DiscardHandler),
	}
}
