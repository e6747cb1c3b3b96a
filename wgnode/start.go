package wgnode

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/waylume/waylume/ipam"
)

// bringUp does what Start does, whole or not at all, and returns what there is to tell.
func (n *Node) bringUp(ctx context.Context) ([]Event, error) {
	// What a start that failed left: the store says what is so now, also of what could not be taken back.
	n.inbox.take()
	clear(n.owed)
	pool, err := ipam.New(n.cfg.Pool)
	if err != nil {
		return nil, fmt.Errorf("make address pool: %w", err)
	}
	kept, err := n.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load store: %w", err)
	}
	inv := newInventory(n.cfg.SpeedLimit, n.cfg.Policy)
	expired, events, err := kept.populate(&inv, pool, wallClock(time.Now()))
	if err != nil {
		return nil, fmt.Errorf("load store: %w", err)
	}
	n.openLog(&inv)
	batch, inverse, err := removalOf(expired...)
	if err != nil {
		return nil, err
	}
	now := wallClock(time.Now())
	over, err := kept.resting.resume(pool, now)
	if err != nil {
		return nil, err
	}
	rest, begun, undone, err := restOf(pool, expired, now)
	if err != nil {
		return nil, err
	}
	maps.Copy(kept.resting, rest)
	batch, inverse = append(append(batch, over...), begun...), append(inverse, undone...)
	key, err := n.chooseKey(kept, now)
	if err != nil {
		return nil, err
	}
	up := session{publicKey: key.private.PublicKey(), base: key.base, overlap: key.overlap, pool: pool, since: time.Now()}
	if up.privateKey, err = ecdh.X25519().NewPrivateKey(key.private[:]); err != nil {
		return nil, fmt.Errorf("use private key: %w", err)
	}
	if _, ok := inv.peers.Get(up.publicKey); ok {
		return nil, fmt.Errorf("the node's own key %s is stored as a peer's: give the node another PrivateKey", up.publicKey)
	}
	batch, inverse = append(batch, key.batch...), append(inverse, key.inverse...)
	n.logLast(ctx, lastReadings(expired))
	err = n.perform(ctx,
		step{name: "write private key", do: key.write},
		n.stored(batch, inverse),
		step{name: "start dataplane", do: func(ctx context.Context) (err error) {
			up.info, err = n.cfg.Dataplane.Start(ctx, n.dataplaneConfig(key, pool), inv.state())
			return err
		}})
	if err != nil {
		return nil, err
	}
	for e := range inv.entities {
		e.common().inForce()
	}
	n.health.begin(up.since, kept.stored)
	n.mu.Lock()
	n.inv, n.up, n.synced, n.resting = inv, up, up.since, kept.resting
	n.mu.Unlock()
	if n.usageLog != nil {
		n.usageLog.wait(ctx, n.logAll(up.since))
	}
	events = append(events, n.beginOverlap(ctx, key)...)
	return append([]Event{{Kind: NodeStarted}}, events...), nil
}

func (n *Node) dataplaneConfig(key keyChoice, pool *ipam.Pool) DataplaneConfig {
	return DataplaneConfig{
		PrivateKey: key.private,
		FormerKey:  key.overlap.key(),
		ListenPort: n.cfg.ListenPort,
		MTU:        n.cfg.MTU,
		Addresses:  nodeAddresses(pool),
		Pool:       pool.Prefixes(),
		Notify:     n.inbox.notify,
		Logger:     n.log,
	}
}

// nodeAddresses are the node's own addresses, each with the length of the prefix it lies in.
func nodeAddresses(pool *ipam.Pool) []netip.Prefix {
	var addresses []netip.Prefix
	for _, family := range pool.Families() {
		gateway, ok := pool.Gateway(family)
		if !ok {
			continue
		}
		for _, prefix := range pool.Prefixes() {
			if prefix.Contains(gateway) {
				addresses = append(addresses, netip.PrefixFrom(gateway, prefix.Bits()))
			}
		}
	}
	return addresses
}
