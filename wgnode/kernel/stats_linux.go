package kernel

import (
	"context"
	"fmt"
	"maps"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// What decides whether counters and quotas are read by their names or in a dump of all there are. By its name the kernel finds an
// object at once, and answers with a message of its own; in a dump it goes on from the first object for each part.
const (
	namedCost   = 3 // of an object by its name, in objects of a dump
	maxDump     = 100_000
	objectsEach = 3 // about: a subject has two counters, and up to two quotas
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
	read, err := dp.reader(conn, peers, accounts)
	if err != nil {
		return wgnode.Stats{}, err
	}
	counters := func(m *meter) (quota.Counters, bool) {
		c, ok := read(m.name)
		if !ok {
			c = dp.lastSeen(m.name, m.seed)
		}
		return c, m.usedUp(c)
	}
	for _, p := range peers {
		c, depleted := counters(&p.meter)
		stats.Peers = append(stats.Peers, wgnode.PeerStats{PublicKey: p.state.PublicKey, Counters: c, Depleted: depleted})
	}
	for _, a := range accounts {
		c, depleted := counters(&a.meter)
		stats.Accounts = append(stats.Accounts, wgnode.AccountStats{ID: a.state.ID, Counters: c, Depleted: depleted})
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

// reader reads the counters of meters with one or a few requests, and then gives each meter's.
func (dp *Dataplane) reader(conn *nft.Conn, peers []*peer, accounts []*account) (func(name string) (quota.Counters, bool), error) {
	names := make([]string, 0, 2*(len(peers)+len(accounts)))
	for _, p := range peers {
		names = append(names, p.meter.name+endDown, p.meter.name+endUp)
	}
	for _, a := range accounts {
		names = append(names, a.meter.name+endDown, a.meter.name+endUp)
	}
	counters, err := dp.readObjects(conn, false, names)
	if err != nil {
		return nil, err
	}
	return func(name string) (quota.Counters, bool) {
		down, ok := counters[name+endDown]
		c := quota.Counters{Download: down.Bytes, Upload: counters[name+endUp].Bytes}
		if ok {
			dp.see(name, c)
		}
		return c, ok
	}, nil
}

// readObjects reads counters or quotas: at least those with these names that there are.
func (dp *Dataplane) readObjects(conn *nft.Conn, quotas bool, names []string) (map[string]nft.Object, error) {
	inet, _ := rules.Tables(dp.cfg.Interface)
	dp.mu.RLock()
	all := objectsEach * len(dp.records.subjects)
	dp.mu.RUnlock()
	switch {
	case len(names)*namedCost <= all || all > maxDump:
		return conn.Named(inet, quotas, names)
	case quotas:
		return conn.Quotas(inet)
	}
	return conn.Counters(inet)
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
