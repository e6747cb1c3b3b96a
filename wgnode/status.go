package wgnode

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
)

// Status is a node at one moment. Before a start and after a close only State is set.
type Status struct {
	// State is "idle", "starting", "running", "closing" or "closed".
	State string
	// Since is when the node was started.
	Since     time.Time
	PublicKey wgtypes.Key
	// FormerKey is the public key that clients may know the node by besides, until OverlapEnds; zero: none. Whether they are served
	// is said under Limitations and Problems if they are not.
	FormerKey   wgtypes.Key
	OverlapEnds time.Time
	// FormerKeyPeers is how many peers' last handshake was with FormerKey; see [PeerQuality].
	FormerKeyPeers int
	// ListenPort is the UDP port that WireGuard listens on.
	ListenPort uint16
	// Addresses are the node's own inside the tunnel.
	Addresses []netip.Prefix
	// Dataplane is its name, Limitations what this system keeps it from doing, in words.
	Dataplane   string
	Limitations []string
	Peers       int
	Accounts    int
	// Pool says how many addresses of each family are free, leased and in quarantine.
	Pool []ipam.Stats
	// Dropped counts packets that did not pass, by reason, since the start.
	Dropped map[string]uint64
	// Problems are what is wrong, by kind; empty when all is well. Most are noticed within 10 s, or with the next checkpoint if
	// that is later.
	Problems []HealthProblem
	// SyncedAt is when the dataplane was last found to be, or brought to be, what it should.
	SyncedAt time.Time
}

// Status reports on the node. It fails when the dataplane cannot be asked, and with what is known all the same.
func (n *Node) Status(ctx context.Context) (Status, error) {
	phase := n.life.current()
	s := Status{State: phase.String()}
	if phase != running {
		return s, nil
	}
	n.mu.RLock()
	up := n.up
	s.Peers, s.Accounts, s.SyncedAt = n.inv.peers.Len(), len(n.inv.accounts), n.synced
	if up.overlap.on() {
		s.FormerKey, s.OverlapEnds, s.FormerKeyPeers = up.overlap.public, up.overlap.until, n.inv.knowFormerKey()
	}
	n.mu.RUnlock()

	s.Since, s.PublicKey, s.ListenPort = up.since, up.publicKey, up.info.ListenPort
	s.Dataplane, s.Limitations = up.info.Name, slices.Clone(up.info.Limitations)
	s.Addresses, s.Pool = nodeAddresses(up.pool), up.pool.Stats()
	s.Problems = n.health.list()
	stats, err := n.stats(ctx, StatsQuery{})
	s.Dropped = stats.Dropped
	if err != nil {
		return s, &OpError{Op: "get status", Err: err}
	}
	return s, nil
}

// PeerStats reads one peer's counters, last handshake and endpoint. A peer that is not active has the counters that it left
// with, and neither of the others. Errors: [ErrNotFound], [ErrNotStarted], [ErrClosed], and what the dataplane returns.
func (n *Node) PeerStats(ctx context.Context, key wgtypes.Key) (PeerStats, error) {
	const op = "read statistics of"
	if _, err := n.Peer(key); err != nil {
		return PeerStats{}, err
	}
	stats, err := n.stats(ctx, StatsQuery{Peers: []wgtypes.Key{key}, Device: true})
	if err == nil && len(stats.Peers) > 0 {
		return stats.Peers[0], nil
	}
	if err == nil {
		n.mu.RLock()
		defer n.mu.RUnlock()
		if p, ok := n.inv.peers.Get(key); ok {
			return p.lastStats(time.Now()), nil
		}
		err = ErrNotFound // removed meanwhile
	}
	return PeerStats{}, &OpError{op, OfPeer(key), err}
}

// AllPeerStats reads the counters, last handshake and endpoint of all peers, in no particular order. What is said of
// PeerStats holds.
func (n *Node) AllPeerStats(ctx context.Context) ([]PeerStats, error) {
	stats, err := n.stats(ctx, StatsQuery{All: true, Device: true})
	if err != nil {
		return nil, &OpError{Op: "read statistics", Err: err}
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	told := make(map[wgtypes.Key]bool, len(stats.Peers))
	for _, s := range stats.Peers {
		told[s.PublicKey] = true
	}
	now := time.Now()
	for _, p := range n.inv.peerOrder.entries {
		if !told[p.key] {
			stats.Peers = append(stats.Peers, p.lastStats(now))
		}
	}
	return stats.Peers, nil
}

// lastStats is what is known of a peer that the dataplane does not have.
func (p *peer) lastStats(now time.Time) PeerStats {
	usage := p.ledger.Usage(wallClock(now), p.counters)
	return PeerStats{PublicKey: p.key, Counters: p.counters, Depleted: usage.Depleted}
}

// stats asks the dataplane while the node is running.
func (n *Node) stats(ctx context.Context, q StatsQuery) (Stats, error) {
	if err := n.life.check(); err != nil {
		return Stats{}, err
	}
	stats, err := n.cfg.Dataplane.Stats(ctx, q)
	if err != nil {
		return Stats{}, fmt.Errorf("read counters: %w", err)
	}
	return stats, nil
}

// Sync brings the dataplane to what it should be and reports what had to be mended, which events do too. The node does it
// by itself every [Config].SyncPeriod and whenever the dataplane finds that someone touched what is its own. Errors:
// [ErrNotStarted], [ErrClosed], and what the dataplane returns.
func (n *Node) Sync(ctx context.Context) ([]Repair, error) {
	release, err := n.acquire(ctx)
	if err != nil {
		return nil, &OpError{Op: "sync", Err: err}
	}
	defer release()
	repairs, err := n.sync(ctx)
	if err != nil {
		return nil, &OpError{Op: "sync", Err: err}
	}
	return repairs, nil
}
