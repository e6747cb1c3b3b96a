package kernel

import (
	"context"
	"maps"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// few is up to how many subjects are read one by one; for more, one dump of all is less work.
const few = 64

// Stats reads the kernel's counters; handshakes and endpoints, which the device gives for all peers at once, only when the
// query asks.
func (dp *Dataplane) Stats(ctx context.Context, query wgnode.StatsQuery) (wgnode.Stats, error) {
	if err := ctx.Err(); err != nil {
		return wgnode.Stats{}, err
	}
	dp.mu.RLock()
	device, conn, err := dp.device, dp.reads, dp.usable()
	peers, accounts := dp.asked(query)
	dp.mu.RUnlock()
	if err != nil {
		return wgnode.Stats{}, err
	}
	var status map[wgtypes.Key]wgdev.PeerStatus
	if query.Device {
		list, err := device.Peers(ctx)
		if err != nil {
			return wgnode.Stats{}, err
		}
		status = make(map[wgtypes.Key]wgdev.PeerStatus, len(list))
		for _, s := range list {
			status[s.PublicKey] = s
		}
	}
	read, err := dp.reader(conn, len(peers)+len(accounts))
	if err != nil {
		return wgnode.Stats{}, err
	}
	var stats wgnode.Stats
	for _, p := range peers {
		counters, ok, err := read(p.meter.name)
		if err != nil {
			return wgnode.Stats{}, err
		}
		if !ok {
			counters = dp.lastSeen(p.meter.name, p.meter.seed)
		}
		s := status[p.state.PublicKey]
		stats.Peers = append(stats.Peers, wgnode.PeerStats{
			PublicKey: p.state.PublicKey, Counters: counters, Depleted: p.meter.usedUp(counters), LastHandshake: s.LastHandshake, Endpoint: s.Endpoint,
		})
	}
	for _, a := range accounts {
		counters, ok, err := read(a.meter.name)
		if err != nil {
			return wgnode.Stats{}, err
		}
		if !ok {
			counters = dp.lastSeen(a.meter.name, a.meter.seed)
		}
		stats.Accounts = append(stats.Accounts, wgnode.AccountStats{ID: a.state.ID, Counters: counters, Depleted: a.meter.usedUp(counters)})
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

// reader reads counters by meter: one by one where they are few, else from one dump.
func (dp *Dataplane) reader(conn *nft.Conn, n int) (func(name string) (quota.Counters, bool, error), error) {
	inet, _ := rules.Tables(dp.cfg.Interface)
	if n <= few {
		return func(name string) (quota.Counters, bool, error) {
			c, ok, err := readCounters(conn, inet, name)
			if ok {
				dp.see(name, c)
			}
			return c, ok, err
		}, nil
	}
	counters, err := conn.Counters(inet)
	if err != nil {
		return nil, err
	}
	return func(name string) (quota.Counters, bool, error) {
		down, ok := counters[name+endDown]
		c := quota.Counters{Download: down.Bytes, Upload: counters[name+endUp].Bytes}
		if ok {
			dp.see(name, c)
		}
		return c, ok, nil
	}, nil
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
