package kernel

import (
	"fmt"
	"slices"

	"github.com/waylume/waylume/wgnode"
)

// takeLast reads for the last time what was counted and which quotas are used up, of which nobody hears any more. The device is
// closed: nothing passes, unless the module goes on with it, and then the tables stay, too.
func (dp *Dataplane) takeLast() error {
	peers, accounts := dp.asked(wgnode.StatsQuery{All: true})
	stats, err := dp.stats(dp.reads, peers, accounts)
	if err != nil {
		return fmt.Errorf("read the last counters: %w", err)
	}
	var names []string
	dp.records.quotas(func(_ *meter, object string) { names = append(names, object) })
	quotas, err := dp.readQuotas(names)
	if err != nil {
		return fmt.Errorf("read the last quotas: %w", err)
	}
	usedUp := func(m *meter) bool {
		o, ok := quotas[m.limit.name]
		return ok && o.Used >= o.Bytes
	}
	for i, p := range peers {
		stats.Peers[i].Depleted = stats.Peers[i].Depleted || usedUp(&p.meter)
	}
	for i, a := range accounts {
		stats.Accounts[i].Depleted = stats.Accounts[i].Depleted || usedUp(&a.meter)
	}
	dp.mu.Lock()
	defer dp.mu.Unlock()
	dp.last = &stats
	return nil
}

// lastOf is what of the last statistics a query asks for.
func lastOf(last wgnode.Stats, query wgnode.StatsQuery) wgnode.Stats {
	if query.All {
		return last
	}
	stats := wgnode.Stats{Dropped: last.Dropped}
	for _, p := range last.Peers {
		if slices.Contains(query.Peers, p.PublicKey) {
			stats.Peers = append(stats.Peers, p)
		}
	}
	for _, a := range last.Accounts {
		if slices.Contains(query.Accounts, a.ID) {
			stats.Accounts = append(stats.Accounts, a)
		}
	}
	return stats
}
