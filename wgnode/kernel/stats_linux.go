package kernel

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// Stats reads the kernel's counters; handshakes and endpoints, which the device gives for all peers at once, only when the
// query asks.
func (dp *Dataplane) Stats(ctx context.Context, query wgnode.StatsQuery) (wgnode.Stats, error) {
	if err := ctx.Err(); err != nil {
		return wgnode.Stats{}, err
	}
	dp.mu.RLock()
	device, conn, last, err := dp.device, dp.reads, dp.last, dp.usable()
	peers, accounts := dp.asked(query)
	dp.mu.RUnlock()
	switch {
	case last != nil:
		return lastOf(*last, query), nil
	case err != nil:
		return wgnode.Stats{}, err
	}
	var problems []wgnode.HealthProblem
	if query.Health {
		if problems, err = dp.health(ctx); err != nil {
			return wgnode.Stats{}, err
		}
	}
	var status map[wgtypes.Key]wgdev.PeerStatus
	if query.Device && device == nil {
		return wgnode.Stats{}, fmt.Errorf("%w: %s was taken away, and could not be made anew", link.ErrNoLink, dp.cfg.Interface)
	}
	if query.Device {
		have, err := device.Status(ctx)
		if err != nil {
			return wgnode.Stats{}, err
		}
		status = make(map[wgtypes.Key]wgdev.PeerStatus, len(have.Peers))
		for _, s := range have.Peers {
			status[s.PublicKey] = s
		}
	}
	stats, err := dp.stats(conn, peers, accounts)
	stats.Problems = problems
	for i := range stats.Peers {
		p := &stats.Peers[i]
		s := status[p.PublicKey]
		p.LastHandshake, p.FormerKey, p.Endpoint = s.LastHandshake, s.FormerKey, s.Endpoint
		p.Received, p.Sent = s.ReceivedBytes, s.SentBytes
	}
	return stats, err
}

// stats reads the counters of some subjects.
func (dp *Dataplane) stats(conn *nft.Conn, peers []*peer, accounts []*account) (stats wgnode.Stats, err error) {
	meters := make([]*meter, 0, len(peers)+len(accounts))
	for _, p := range peers {
		meters = append(meters, &p.meter)
	}
	for _, a := range accounts {
		meters = append(meters, &a.meter)
	}
	counters, err := dp.readMeters(meters)
	if err != nil {
		return wgnode.Stats{}, err
	}
	stats.Peers = slices.Grow(stats.Peers, len(peers))
	for i, p := range peers {
		c := counters[i]
		stats.Peers = append(stats.Peers, wgnode.PeerStats{PublicKey: p.state.PublicKey, Counters: c, Depleted: p.meter.usedUp(c)})
	}
	for i, a := range accounts {
		c := counters[len(peers)+i]
		stats.Accounts = append(stats.Accounts, wgnode.AccountStats{ID: a.state.ID, Counters: c, Depleted: a.meter.usedUp(c)})
	}
	stats.Dropped, err = dp.dropped(conn)
	return stats, err
}

// usedUp reports that a budget is, also when its event is still on its way.
func (m *meter) usedUp(now quota.Counters) bool {
	return m.depleted || m.budget.Limited && now.Of(m.budget.Counted) >= m.budget.Limit
}

// usable says why Stats cannot be had; mu is held.
func (dp *Dataplane) usable() error {
	switch dp.life {
	case isNew:
		return wgnode.ErrNotStarted
	case isClosed:
		return wgnode.ErrClosed
	}
	return nil
}

// asked are the records that a query names, in its order.
func (dp *Dataplane) asked(query wgnode.StatsQuery) (peers []*peer, accounts []*account) {
	if query.All {
		for p := range maps.Values(dp.records.peers) {
			peers = append(peers, p)
		}
		for a := range maps.Values(dp.records.accounts) {
			accounts = append(accounts, a)
		}
		return peers, accounts
	}
	for _, key := range query.Peers {
		if p := dp.records.peers[key]; p != nil {
			peers = append(peers, p)
		}
	}
	for _, id := range query.Accounts {
		if a := dp.records.accounts[id]; a != nil {
			accounts = append(accounts, a)
		}
	}
	return peers, accounts
}

// readMeters reads the counters of each meter; where somebody took them away, they are those that were last read.
func (dp *Dataplane) readMeters(meters []*meter) ([]quota.Counters, error) {
	names := make([]string, 0, 2*len(meters))
	for _, m := range meters {
		names = append(names, m.name+endDown, m.name+endUp)
	}
	read := make([]uint64, len(names))
	there := make([]bool, len(names))
	inet, _ := rules.Tables(dp.cfg.Interface)
	err := dp.objects.Named(inet, false, names, func(i int, o nft.Object) { read[i], there[i] = o.Bytes, true })
	if err != nil {
		return nil, err
	}
	counters := make([]quota.Counters, len(meters))
	for i, m := range meters {
		down, up := 2*i, 2*i+1
		if !there[down] {
			counters[i] = dp.lastSeen(m.name, m.seed)
			continue
		}
		counters[i] = quota.Counters{Download: read[down], Upload: read[up]}
		dp.see(m.name, counters[i])
	}
	return counters, nil
}

// readQuotas reads the quotas with these names that there are.
func (dp *Dataplane) readQuotas(names []string) (map[string]nft.Object, error) {
	read := make([]nft.Object, len(names))
	inet, _ := rules.Tables(dp.cfg.Interface)
	if err := dp.objects.Named(inet, true, names, func(i int, o nft.Object) { read[i] = o }); err != nil {
		return nil, err
	}
	quotas := make(map[string]nft.Object, len(names))
	for i, name := range names {
		if read[i].Quota {
			quotas[name] = read[i]
		}
	}
	return quotas, nil
}

func (dp *Dataplane) dropped(conn *nft.Conn) (map[string]uint64, error) {
	inet, netdev := rules.Tables(dp.cfg.Interface)
	dropped := make(map[string]uint64)
	for _, t := range []nft.Table{inet, netdev} {
		for name, reason := range rules.DropReasons() {
			if t == netdev && !rules.DropsAtIngress(name) {
				continue
			}
			o, ok, err := optional(conn.Object(t, name, false))
			if err != nil {
				return nil, err
			}
			if ok && o.Packets > 0 {
				dropped[reason] += o.Packets
			}
		}
	}
	return dropped, nil
}
