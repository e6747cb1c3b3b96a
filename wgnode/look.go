package wgnode

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waylume/waylume/internal/spell"
)

const (
	// lookPeriod is how often a checkpoint's reading takes in handshakes, endpoints, and what the dataplane knows to be wrong.
	lookPeriod = 10 * time.Second
	// lookRest is how many times as long as such a reading takes passes between two at least.
	lookRest = 100
	// maxSettled is how many peers' connections are written together, so that readers get their turn in between.
	maxSettled = 1024
	// ceasedTogether is how many peers must have lost their sessions for it not to be their own doing.
	ceasedTogether = 3
	// unansweredTimes is how many handshakes must have been begun in vain: one may be under way.
	unansweredTimes = 3
)

// pollAll polls all counters, and looks around with the same reading when it is time. What only the look cannot read keeps no
// counter from being read. The caller holds the slot.
func (n *Node) pollAll(ctx context.Context) error {
	began := time.Now()
	if began.Before(n.lookAt) {
		return n.poll(ctx, StatsQuery{All: true})
	}
	looked := n.poll(ctx, StatsQuery{All: true, Device: true, Health: true})
	if looked == nil {
		now := time.Now()
		n.lookAt = now.Add(max(lookPeriod, lookRest*now.Sub(began)))
		return nil
	}
	n.health.dataplane(n.health.unsynced, looked)
	if n.poll(ctx, StatsQuery{All: true, Health: true}) == nil {
		return nil
	}
	return n.poll(ctx, StatsQuery{All: true})
}

// observe takes from a reading of all peers what it tells of their connections, and of the dataplane. The caller holds the slot.
func (n *Node) observe(q StatsQuery, stats Stats, now time.Time) {
	if !q.All {
		return
	}
	if q.Health && q.Device {
		n.health.dataplane(n.health.unsynced, nil)
	}
	if q.Health {
		n.health.heard(stats.Problems)
	}
	var seen sighting
	before := n.inv.quiet
	n.settle(func(inv *inventory) { inv.quiet.read(now, q.Device) })
	for some := range slices.Chunk(stats.Peers, maxSettled) {
		n.settle(func(inv *inventory) {
			for _, s := range some {
				p, ok := inv.peers.Get(s.PublicKey)
				if !ok {
					continue
				}
				if p.staysQuiet(s, q.Device) {
					p.watch(q.Device, now)
					seen.rests(p)
					continue
				}
				if p.connection == nil || p.atRest() {
					p.connection = before.seen(p)
				}
				p.connection.count(now, s.Counters)
				if q.Device {
					seen.add(p.connection, now, s)
					p.rest(now, s.Counters)
				}
			}
		})
	}
	if q.Device {
		if !seen.session {
			seen.together = sharing(&n.inv, seen.newest)
		}
		n.health.shaken(now, seen, n.up.info.ListenPort)
	}
}

// sighting is what one reading tells of all peers' handshakes.
type sighting struct {
	session      bool    // some peer has one
	newest       instant // handshake of all
	peers, nodes uint64  // handshakes begun in vain since the reading before
	asking       int     // peers that began some of them
	together     int     // peers that had a session when the newest began
}

func (s *sighting) add(c *connection, now time.Time, stats PeerStats) {
	peers, nodes := c.see(now, stats)
	s.peers, s.nodes = s.peers+peers, s.nodes+nodes
	if peers > 0 {
		s.asking++
	}
	s.session = s.session || c.session(now)
	s.newest = max(s.newest, c.handshake)
}

// rests takes what is known of a peer that is quiet or at rest, which the device says nothing new of.
func (s *sighting) rests(p *peer) {
	if p.atRest() {
		s.newest = max(s.newest, p.connection.handshake)
	}
}

// sharing counts the peers that had a session when the newest one began.
func sharing(inv *inventory, newest instant) (count int) {
	for _, p := range inv.peerOrder.entries {
		if c := p.connection; c != nil && c.handshake != 0 && newest.since(c.handshake) < sessionLife {
			count++
		}
	}
	return count
}

// handshakeWatch is what was seen of handshakes that fail.
type handshakeWatch struct {
	asked  spell.Spell // when peers began some in vain
	asks   uint64      // how many
	vain   bool        // the node tried in vain since the last session ended
	asking int
}

// shaken takes what a reading tells of handshakes.
func (h *health) shaken(now time.Time, seen sighting, port uint16) {
	w := &h.handshakes
	if seen.session {
		*w = handshakeWatch{}
		h.lacks(HandshakesUnanswered, HandshakesCeased)
		return
	}
	if seen.peers > 0 {
		w.asked.Note(now, sessionLife)
		w.asks, w.asking = w.asks+seen.peers, seen.asking
	}
	since, n := w.asked.At(now, sessionLife)
	if n == 0 {
		w.asks = 0
	}
	if w.asks >= unansweredTimes {
		h.has(HealthProblem{Kind: HandshakesUnanswered, Since: since, What: fmt.Sprintf("no peer gets a session, and %d asked for one: what UDP "+
			"port %d answers does not reach them; see that firewalls and the provider let it out, that it leaves by the address that peers "+
			"ask at, and that their preshared keys are right", w.asking, port)})
	} else {
		h.lacks(HandshakesUnanswered)
	}
	w.vain = w.vain || seen.nodes > 0
	if w.vain && seen.together >= ceasedTogether {
		ceased := seen.newest.time().Add(sessionLife)
		h.has(HealthProblem{Kind: HandshakesCeased, Since: ceased, What: fmt.Sprintf("no peer has a session, %d had one until "+
			"%s, and none answers: nothing of theirs may reach UDP port %d; see that this host is online, and that its firewalls and the "+
			"provider let that port in", seen.together, ceased.Format(time.RFC3339), port)})
	} else {
		h.lacks(HandshakesCeased)
	}
}
