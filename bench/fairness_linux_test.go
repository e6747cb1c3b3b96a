package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// BenchmarkFairness has all peers of an account, which has a limit and they have none, load it at once, each by another number of
// TCP connections, and measures how evenly they share it: jain, and err-% of all together.
func BenchmarkFairness(b *testing.B) {
	sizes, directions := []int{4}, []direction{down}
	if full() {
		sizes, directions = []int{4, 16}, []direction{down, up}
	}
	for _, path := range []string{inUserspace, inKernel} {
		for _, peers := range sizes {
			b.Run(fmt.Sprintf("path=%s/limit=40M/peers=%d", path, peers), func(b *testing.B) {
				clients := account(b, path, 40e6, peers)
				for _, d := range directions {
					b.Run(fmt.Sprintf("direction=%s", d), func(b *testing.B) { fairness(b, clients, d, 40e6) })
				}
			})
		}
	}
}

// account starts an exit with the peers of one account, which are connected.
func account(tb testing.TB, path string, limit shaping.Rate, peers int) (clients []*client) {
	tb.Helper()
	s := newSite(tb)
	const id = "shared"
	state := wgnode.State{Accounts: []wgnode.AccountState{{ID: id, SpeedLimit: shaping.Limit{Download: limit, Upload: limit}}}}
	var list []peer
	for i := range peers {
		p := newPeer(tb, i, func(p *wgnode.PeerState) {
			// A limit of a peer's own, above the account's, is what gives it a queue of its own in the kernel.
			p.Account, p.SpeedLimit = id, shaping.Limit{Download: 2 * limit, Upload: 2 * limit}
		})
		list = append(list, p)
		state.Peers = append(state.Peers, p.PeerState)
	}
	x := s.startExit(tb, exitConfig{Dataplane: path, State: state})
	for _, p := range list {
		clients = append(clients, s.connect(tb, x, p))
	}
	return clients
}

func fairness(b *testing.B, clients []*client, d direction, limit shaping.Rate) {
	var index, failure float64
	for b.Loop() {
		loads := make([]*load, len(clients))
		for i, c := range clients {
			loads[i] = startLoad(b, c, loadSpec{network: "tcp", direction: d, flows: 1 + i%4})
		}
		time.Sleep(2 * settled) // connections that begin together lose packets together
		m := follow(func() []uint64 {
			counts := make([]uint64, len(loads))
			for i, l := range loads {
				counts[i] = l.delivered()
			}
			return counts
		})
		time.Sleep(span())
		all := m.end()
		for _, l := range loads {
			l.stop()
		}
		shares := make([]float64, len(all))
		for i, s := range all {
			shares[i] = s.rate(0)
		}
		index += jain(shares)
		failure += errorPercent(sum(all).rate(0), float64(limit))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(index/float64(b.N), "jain")
	b.ReportMetric(failure/float64(b.N), "err-%")
}
