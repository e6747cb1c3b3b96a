//go:build linux

package kernel_test

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// benchPeer is the i-th peer: shaped, capped, with an address of each family.
func benchPeer(i int) wgnode.PeerState {
	var key wgtypes.Key
	binary.BigEndian.PutUint64(key[:], uint64(i)+1)
	v4 := netip.AddrFrom4([4]byte{10, byte((i + 2) >> 16), byte((i + 2) >> 8), byte(i + 2)})
	v6 := netip.MustParseAddr("fd77::").As16()
	binary.BigEndian.PutUint32(v6[12:], uint32(i+2))
	return wgnode.PeerState{
		PublicKey: key, Addrs: []netip.Addr{v4, netip.AddrFrom16(v6)},
		SpeedLimit: shaping.Limit{Download: 20_000_000, Upload: 10_000_000},
		Budget:     quota.Budget{Limited: true, Limit: 1 << 40, Mark: 1 << 39},
	}
}

// benchDataplane is one that holds n peers.
func benchDataplane(b *testing.B, n int) (*kernel.Dataplane, wgnode.State) {
	b.Helper()
	netns.Require(b)
	resetHost(b)
	dp, err := kernel.New(kernel.Config{Interface: rigInterface})
	require.NoError(b, err)
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(b, err)
	var want wgnode.State
	for i := range n {
		want.Peers = append(want.Peers, benchPeer(i))
	}
	_, err = dp.Start(b.Context(), wgnode.DataplaneConfig{
		PrivateKey: private, MTU: 1420, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("fd77::1/64")},
		Pool:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd77::/64")},
		Notify: func(wgnode.DataplaneEvent) {}, Logger: slog.New(slog.DiscardHandler),
	}, want)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, dp.Close()) })
	return dp, want
}

// BenchmarkPeers measures what one peer costs whole (device, two classes, objects and elements), beside many others.
func BenchmarkPeers(b *testing.B) {
	for _, n := range []int{0, 100, 1_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			dp, want := benchDataplane(b, n)
			apply := func(b *testing.B, c wgnode.Change) {
				require.NoError(b, dp.Apply(b.Context(), c))
			}
			// A node does not give an address to another at once; neither does this.
			next := n
			fresh := func() wgnode.PeerState {
				next++
				return benchPeer(next)
			}
			b.Run("add", func(b *testing.B) {
				for b.Loop() {
					p := fresh()
					apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{p}})
					b.StopTimer()
					apply(b, wgnode.Change{RemovePeers: []wgtypes.Key{p.PublicKey}})
					b.StartTimer()
				}
			})
			b.Run("remove", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					p := fresh()
					apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{p}})
					b.StartTimer()
					apply(b, wgnode.Change{RemovePeers: []wgtypes.Key{p.PublicKey}})
				}
			})
			one := fresh()
			apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{one}})
			b.Run("change", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					one.SpeedLimit.Download = shaping.Rate(10_000_000 + 1_000_000*(i%2))
					apply(b, wgnode.Change{SetPeers: []wgnode.PeerState{one}})
				}
			})
			want.Peers = append(want.Peers, one)
			b.Run("sync", func(b *testing.B) {
				for b.Loop() {
					repairs, err := dp.Sync(b.Context(), want)
					require.NoError(b, err)
					require.Empty(b, repairs)
				}
			})
			b.Run("stats", func(b *testing.B) {
				for b.Loop() {
					_, err := dp.Stats(b.Context(), wgnode.StatsQuery{All: true})
					require.NoError(b, err)
				}
			})
		})
	}
}

// BenchmarkShell is what scripts and others do for one peer: tc and iptables as programs, with a filter for each peer. The
// device's part (wg set) is left out, as it needs the module.
func BenchmarkShell(b *testing.B) {
	for _, tool := range [][2]string{{"tc", "iproute2"}, {"iptables", "iptables"}, {"ip", "iproute2"}} {
		testutil.RequireTool(b, tool[0], tool[1])
	}
	run := func(b *testing.B, name string, args ...string) {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			b.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	for _, n := range []int{0, 100, 1_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			netns.Require(b)
			run(b, "ip", "link", "add", "shell0", "type", "dummy")
			defer run(b, "ip", "link", "del", "shell0")
			run(b, "ip", "link", "set", "shell0", "up")
			run(b, "tc", "qdisc", "add", "dev", "shell0", "root", "handle", "1:", "htb")
			add := func(i int) {
				class, addr := fmt.Sprintf("1:%x", i+2), benchPeer(i).Addrs[0].String()
				run(b, "tc", "class", "add", "dev", "shell0", "parent", "1:", "classid", class, "htb", "rate", "20mbit")
				run(b, "tc", "filter", "add", "dev", "shell0", "parent", "1:", "protocol", "ip", "prio", strconv.Itoa(i+1), "u32",
					"match", "ip", "dst", addr, "flowid", class)
				run(b, "iptables", "-A", "FORWARD", "-s", addr, "-j", "ACCEPT")
				run(b, "iptables", "-A", "FORWARD", "-d", addr, "-j", "ACCEPT")
			}
			defer run(b, "iptables", "-F", "FORWARD")
			for i := range n {
				add(i)
			}
			i := n
			b.Run("add", func(b *testing.B) {
				for b.Loop() {
					add(i)
					i++
				}
			})
		})
	}
}
