package userspace

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/internal/wggo"
)

// Apply makes one change, whole or not at all. A peer enters the device last and leaves it first, so that no packet
// passes before its rules stand or after they are gone.
func (dp *Dataplane) Apply(ctx context.Context, change wgnode.Change) error {
	dp.mu.Lock()
	defer dp.mu.Unlock()
	if err := dp.usableLocked(ctx); err != nil {
		return err
	}
	return dp.applyLocked(change)
}

// Sync makes the dataplane equal to want and says what differed.
func (dp *Dataplane) Sync(ctx context.Context, want wgnode.State) ([]wgnode.Repair, error) {
	dp.mu.Lock()
	defer dp.mu.Unlock()
	if err := dp.usableLocked(ctx); err != nil {
		return nil, err
	}
	change, repairs := dp.path.Want().Diff(want)
	if len(repairs) == 0 {
		return nil, nil
	}
	if err := dp.applyLocked(change); err != nil {
		return nil, err
	}
	return repairs, nil
}

func (dp *Dataplane) usableLocked(ctx context.Context) error {
	switch dp.state {
	case isNew:
		return wgnode.ErrNotStarted
	case isClosed:
		return wgnode.ErrClosed
	}
	return ctx.Err()
}

func (dp *Dataplane) applyLocked(change wgnode.Change) error {
	want := dp.path.Want()
	if err := want.Check(change); err != nil {
		return err
	}
	undo := want.Inverse(change)
	leaving, entering := dp.deviceSteps(change)
	if err := dp.configure(leaving); err != nil {
		return errors.Join(err, dp.configure(deviceUndo(undo)))
	}
	// Flows end while their addresses are still those of the peers that they belong to: a late segment is no heir's.
	dp.holdings.drop(dp.former(change))
	defer dp.holdings.let()
	if err := dp.path.Apply(change); err != nil {
		return errors.Join(err, dp.configure(deviceUndo(undo)))
	}
	if err := dp.configure(entering); err != nil {
		dp.holdings.drop(dp.former(undo))
		return errors.Join(err, dp.path.Apply(undo), dp.configure(deviceUndo(undo)))
	}
	return nil
}

// deviceChange is what the device is to be told.
type deviceChange struct {
	remove []wgtypes.Key
	set    []wggo.Peer
}

// deviceSteps says what the device must be told before the packet path changes, and what after. A peer of which the
// device knows all that the change says is passed over: a new speed limit is none of its business.
func (dp *Dataplane) deviceSteps(change wgnode.Change) (leaving, entering deviceChange) {
	want := dp.path.Want()
	for _, key := range change.RemovePeers {
		if _, ok := want.Peer(key); ok {
			leaving.remove = append(leaving.remove, key)
		}
	}
	for _, p := range change.SetPeers {
		old, ok := want.Peer(p.PublicKey)
		same := ok && old.PresharedKey == p.PresharedKey && old.Keepalive == p.Keepalive && slices.Equal(old.Addrs, p.Addrs)
		if !same || slices.Contains(change.RemovePeers, p.PublicKey) {
			entering.set = append(entering.set, devicePeer(p))
		}
	}
	return leaving, entering
}

// deviceUndo is the inverse of a change as the device is to be told it.
func deviceUndo(undo wgnode.Change) deviceChange {
	return deviceChange{undo.RemovePeers, devicePeers(undo.SetPeers)}
}

func (dp *Dataplane) configure(c deviceChange) error {
	if err := dp.device.Set(context.Background(), c.remove, c.set); err != nil {
		return fmt.Errorf("configure the device: %w", err)
	}
	return nil
}

// devicePeer is a peer as the device is to be told of it.
func devicePeer(p wgnode.PeerState) wggo.Peer {
	d := wggo.Peer{PublicKey: p.PublicKey, PresharedKey: p.PresharedKey, Keepalive: p.Keepalive}
	for _, addr := range p.Addrs {
		d.AllowedIPs = append(d.AllowedIPs, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return d
}

func devicePeers(states []wgnode.PeerState) []wggo.Peer {
	peers := make([]wggo.Peer, 0, len(states))
	for _, p := range states {
		peers = append(peers, devicePeer(p))
	}
	return peers
}

// former are the peers that a change has leave or change address: a flow from an address that the peer no longer has ends with all
// of its flows.
func (dp *Dataplane) former(change wgnode.Change) []wgtypes.Key {
	keys := slices.Clone(change.RemovePeers)
	for _, p := range change.SetPeers {
		if old, ok := dp.path.Want().Peer(p.PublicKey); ok && !slices.Equal(old.Addrs, p.Addrs) {
			keys = append(keys, p.PublicKey)
		}
	}
	return keys
}

// Stats reads counters; handshakes and endpoints, which the device gives for all peers at once, only when the query asks.
func (dp *Dataplane) Stats(ctx context.Context, query wgnode.StatsQuery) (wgnode.Stats, error) {
	dp.mu.Lock()
	err := dp.usableLocked(ctx)
	over := dp.state == isClosed && dp.ran
	dp.mu.Unlock()
	if over {
		<-dp.done // what passes meanwhile counts
	} else if err != nil {
		return wgnode.Stats{}, err
	}
	stats := dp.path.Stats(query)
	dp.drops.addTo(stats.Dropped)
	if query.Health && !over {
		stats.Problems = dp.sockets.problems(time.Now())
	}
	if !query.Device || over {
		return stats, nil
	}
	status, err := dp.device.Status()
	if err != nil {
		return wgnode.Stats{}, fmt.Errorf("read the device's state: %w", err)
	}
	byKey := make(map[wgtypes.Key]*wggo.PeerStatus, len(status.Peers))
	for i := range status.Peers {
		byKey[status.Peers[i].PublicKey] = &status.Peers[i]
	}
	for i := range stats.Peers {
		p := &stats.Peers[i]
		if d := byKey[p.PublicKey]; d != nil {
			p.LastHandshake, p.FormerKey, p.Endpoint = d.LastHandshake, d.FormerKey, d.Endpoint
			p.Received, p.Sent = d.ReceivedBytes, d.SentBytes
		}
	}
	return stats, nil
}
