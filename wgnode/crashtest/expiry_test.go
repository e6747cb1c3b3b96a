package crashtest

import (
	"fmt"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// lateness is by how much a node that lives may be late with what time brings: a machine may keep it waiting. One that starts is
// never late.
const lateness = 2 * time.Second

// now is the time by the wall clock, which processes share.
func now() time.Time { return time.Now().Round(0).UTC() }

// span is when a node was asked something: it answered for some time between from and to.
type span struct {
	from, to time.Time
	// done is by when all that time brings must have been done.
	done time.Time
}

// isPast reports whether a time has come by another; the zero time never comes.
func isPast(t, by time.Time) bool { return !t.IsZero() && !t.After(by) }

// sooner returns the earlier of two times of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// end is when a peer's time is over, with its grace period; zero: never.
func (p *modelPeer) end() time.Time {
	if p.spec.ExpiresAt.IsZero() {
		return time.Time{}
	}
	return p.spec.ExpiresAt.Add(p.spec.GracePeriod)
}

// bury takes away the peers whose time was over by then. One whose grace period was cut to less than had passed is over from that
// call on: a node that lives may be as late with it as with any other.
func (s *shard) bury(by time.Time) (buried []*modelPeer) {
	for key, p := range s.peers {
		if isPast(p.end(), by) && !p.changed.After(by) {
			delete(s.peers, key)
			buried = append(buried, p)
		}
	}
	return buried
}

// leaving are the peers that may be gone by then.
func (s *shard) leaving(by time.Time) (keys []wgtypes.Key) {
	for _, k := range s.keys {
		if p := s.peers[k.public]; p != nil && isPast(sooner(p.left, p.end()), by) {
			keys = append(keys, k.public)
		}
	}
	return keys
}

// variants are the shards that a node may have by then: without some of the peers that may be gone. The first has them all.
func (s *shard) variants(by time.Time) iter.Seq[*shard] {
	return func(yield func(*shard) bool) {
		keys := s.leaving(by)
		choices := make([]uint, 1<<len(keys))
		for i := range choices {
			choices[i] = uint(i)
		}
		slices.SortStableFunc(choices, func(a, b uint) int { return bits.OnesCount(a) - bits.OnesCount(b) })
		for _, choice := range choices {
			v := s.clone()
			for i, key := range keys {
				if choice&(1<<i) != 0 {
					delete(v.peers, key)
				}
			}
			if !yield(v) {
				return
			}
		}
	}
}

// settled is the shard without the peers that may be gone, and are. Those that are there are sure to be.
func (s *shard) settled(c *contents, at span) *shard {
	next := s.clone()
	next.bury(at.done)
	for _, key := range next.leaving(at.to) {
		if !slices.ContainsFunc(c.Peers, func(p wgnode.Peer) bool { return p.PublicKey == key }) {
			delete(next.peers, key)
		}
	}
	for _, p := range next.peers {
		p.left = time.Time{}
	}
	return next
}

// of are the peers that a subject is, or that an account has.
func (s *shard) of(of subject) (peers []*modelPeer) {
	for _, k := range s.keys {
		p := s.peers[k.public]
		if p != nil && (of.Account == "" && k.public == of.Peer || of.Account != "" && p.spec.Account == of.Account) {
			peers = append(peers, p)
		}
	}
	return peers
}

func wantExpiry(s *shard, o operation, at time.Time) string {
	if want := wantSubject(s, o, at); want != made {
		return want
	}
	changes := func(p *modelPeer) bool { return !p.spec.ExpiresAt.Equal(o.At) }
	if isPast(o.At, at) && slices.ContainsFunc(s.of(o.Subject), changes) {
		return invalid
	}
	return made
}

// applyExpiry changes the ends of peers. One of an account's whose time was over may have gone before: nobody was told.
func applyExpiry(s *shard, o operation, at span) {
	for _, p := range s.of(o.Subject) {
		if end := p.end(); o.Subject.Account != "" && isPast(end, at.to) {
			p.left = sooner(p.left, end)
		}
		p.changed = at.to
		if o.Kind == expiring {
			p.spec.ExpiresAt = o.At
		} else {
			p.spec.GracePeriod = o.Grace
		}
	}
}

func drawExpiry(r *rand.Rand, s *shard) (operation, bool) {
	o, ok := drawSubject(r, s)
	o.At = drawEnd(r)
	return o, ok
}

func drawGracePeriod(r *rand.Rand, s *shard) (operation, bool) {
	o, ok := drawSubject(r, s)
	o.Grace = drawGrace(r)
	return o, ok
}

// drawEnd makes times of which half come within a campaign.
func drawEnd(r *rand.Rand) time.Time {
	switch r.IntN(4) {
	case 0:
		return time.Time{}
	case 1:
		return time.Date(2999, 1, 1, 0, 0, r.IntN(1e6), r.IntN(1e9), time.UTC)
	}
	return now().Add(microseconds(r, 100_000<<r.IntN(6)))
}

func drawGrace(r *rand.Rand) time.Duration {
	switch r.IntN(4) {
	case 0:
		return microseconds(r, 1_500_000)
	case 1:
		return time.Duration(1+r.IntN(1000)) * time.Hour
	}
	return 0
}

// noteEnds notes when peers may be closed because of an operation, at the earliest: a client whose peer is may send in vain.
func (c *caller) noteEnds(o operation) {
	for _, spec := range o.Peers {
		c.closes[subject{Peer: spec.PublicKey}] = sooner(c.closes[subject{Peer: spec.PublicKey}], spec.ExpiresAt)
	}
	if o.Kind == expiring {
		for _, p := range c.shard.of(o.Subject) {
			s := subject{Peer: p.spec.PublicKey}
			c.closes[s], c.extended[s] = sooner(c.closes[s], o.At), true
		}
	}
}

// closedFrom is when in this life a peer, or the first of an account's that a client has, may have been closed; zero: not at all.
func (c *caller) closedFrom(s subject) time.Time {
	first := c.closes[s]
	for _, k := range c.clients {
		if s.Account != "" && k.account == s {
			first = sooner(first, c.closes[k.peer])
		}
	}
	return first
}

// judgeEnds checks, when a life is over, that nothing has passed of clients whose peers had come to their end.
func (c *caller) judgeEnds() error {
	for _, k := range c.clients {
		if k.ends.IsZero() || c.extended[k.peer] || c.touched[k.peer] {
			continue
		}
		total := k.tally.came()
		if isPast(k.ends, c.born) {
			if total.Download+total.Upload > 0 {
				return fmt.Errorf("%v has passed of %s, which had expired at %v, before the node started", total, k.peer, k.ends)
			}
			continue
		}
		if by := k.cameAfter(k.ends.Add(lateness)); by != total {
			return fmt.Errorf("%v has passed of %s, and only %v by %v after it had expired", total, k.peer, by, lateness)
		}
	}
	return nil
}
