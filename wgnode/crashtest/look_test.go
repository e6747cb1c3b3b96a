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
	at := span{from: process.born, done: process.born}
	a, err := process.call(operation{Kind: looking})
	if err != nil {
		return err
	}
	at.to = now()
	if a.Condition != made {
		return errors.New(a.Error)
	}
	seen := a.Contents
	for _, k := range c.callers {
		if k.doubt != nil {
			c.sum.doubts++
		}
		wasMade, err := k.resolve(seen, at, c.died)
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
			if p := k.shard.peers[s.Peer]; err != nil && p != nil && isPast(p.end(), now()) {
				continue // it was there when the node was asked
			}
			if err != nil {
				return fmt.Errorf("usage of %s in the store: %w", s, err)
			}
			lost, err := k.judgeStart(s, seen.Usage[s.String()], stored, at, c.kept, c.written)
			if err == nil {
				err = k.judgePeriod(s, seen.Usage[s.String()], stored, c.kept, c.died, c.written)
			}
			if err != nil {
				return err
			}
			if c.peace && lost > 0 {
				return fmt.Errorf("%s has used %v after the start: %d bytes more have come before the node was closed", s, seen.Usage[s.String()], lost)
			}
			c.sum.lost = max(c.sum.lost, lost)
		}
		k.begin(seen, process.born)
	}
	c.kept, c.peace, c.looked = c.site.keeps(), true, true
	if err := c.compareWhole(seen, at); err != nil {
		return err
	}
	if a, err = process.call(operation{Kind: syncing}); err != nil {
		return err
	}
	if a.Condition != made || len(a.Repairs) > 0 {
		return fmt.Errorf("the first sync after the start mended %v %s", a.Repairs, a.Error)
	}
	err = c.site.inspect(seen)
	if c.turns(at.from, now()) { // what was seen was of before or of after
		c.site.forget()
		return nil
	}
	if err != nil {
		if _, dead := process.call(operation{Kind: looking}); dead != nil {
			return dead // meanwhile
		}
	}
	return err
}

// turns reports whether time changes anything between two moments.
func (c *campaign) turns(from, to time.Time) bool {
	between := func(t time.Time) bool { return isPast(t, to) && !isPast(t, from) }
	for _, k := range c.callers {
		for _, p := range k.shard.peers {
			if between(p.spec.ExpiresAt) || between(p.end()) {
				return true
			}
		}
		for _, s := range k.shard.present() {
			if boundary, ok := boundaryOf(k.shard.capOf(s).limit.Period); ok && between(boundary) {
				return true
			}
		}
	}
	return false
}

// compareWhole checks what concerns all shards.
func (c *campaign) compareWhole(seen *contents, at span) error {
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
		least, most := c.register.restingAt(f.Family, holders, at)
		if f.Leased != uint64(peers) || f.Outlying+f.OutlyingQuarantined > 0 || f.Quarantined < least || f.Quarantined > most {
			return fmt.Errorf("the pool is %+v with %d peers, and %d to %d addresses were released of late", f, peers, least, most)
		}
	}
	return nil
}
