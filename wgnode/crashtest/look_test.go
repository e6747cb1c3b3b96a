package crashtest

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/waylume/waylume/wgnode"
)

// look compares what the node has with the model, before anything else is asked of it.
func (c *campaign) look(process *process) error {
	a, err := process.call(operation{Kind: looking})
	if err != nil {
		return err
	}
	if a.Condition != made {
		return errors.New(a.Error)
	}
	seen := a.Contents
	for _, k := range c.callers {
		if k.doubt != nil {
			c.sum.doubts++
		}
		wasMade, err := k.resolve(seen, c.died)
		if err != nil {
			return err
		}
		if wasMade {
			c.sum.doubtful++
		}
		for _, s := range k.shard.present() {
			process.mu.Lock()
			stored, err := c.mirror.usageOf(s)
			process.mu.Unlock()
			if err != nil {
				return fmt.Errorf("usage of %s in the store: %w", s, err)
			}
			lost, err := k.judgeStart(s, seen.Usage[s.String()], stored, c.kept, c.written)
			if err != nil {
				return err
			}
			if c.peace && lost > 0 {
				return fmt.Errorf("%s has used %v after the start: %d bytes more have come before the node was closed", s, seen.Usage[s.String()], lost)
			}
			c.sum.lost = max(c.sum.lost, lost)
		}
		k.begin(seen)
	}
	c.kept, c.peace = c.site.keeps(), true
	if err := c.compareWhole(seen); err != nil {
		return err
	}
	if a, err = process.call(operation{Kind: syncing}); err != nil {
		return err
	}
	if a.Condition != made || len(a.Repairs) > 0 {
		return fmt.Errorf("the first sync after the start mended %v %s", a.Repairs, a.Error)
	}
	if err := c.site.inspect(seen); err != nil {
		if _, dead := process.call(operation{Kind: looking}); dead != nil {
			return dead // meanwhile
		}
		return err
	}
	return nil
}

// compareWhole checks what concerns all shards.
func (c *campaign) compareWhole(seen *contents) error {
	holders := make(map[netip.Addr]wgnode.Peer)
	peers, accounts := 0, 0
	for _, k := range c.callers {
		peers, accounts = peers+len(k.shard.peers), accounts+len(k.shard.accounts)
	}
	if len(seen.Peers) != peers || len(seen.Accounts) != accounts {
		return fmt.Errorf("there are %d peers and %d accounts, want %d and %d", len(seen.Peers), len(seen.Accounts), peers, accounts)
	}
	for _, p := range seen.Peers {
		for _, addr := range p.Addrs {
			if other, ok := holders[addr]; ok {
				return fmt.Errorf("%s is an address of %s and of %s", addr, p.PublicKey, other.PublicKey)
			}
			holders[addr] = p
		}
	}
	for _, f := range seen.Status.Pool {
		resting := c.register.restingAt(f.Family, time.Now().Add(-quarantineSlack))
		if f.Leased != uint64(peers) || f.Outlying+f.OutlyingQuarantined > 0 || f.Quarantined > resting {
			return fmt.Errorf("the pool is %+v with %d peers, and %d addresses were released of late", f, peers, resting)
		}
	}
	return nil
}
