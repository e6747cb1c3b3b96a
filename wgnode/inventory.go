package wgnode

import (
	"time"

	"github.com/waylume/waylume/internal/keytable"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// entity is a peer or an account: what the node holds, stores, and puts in force.
type entity interface { //nolint:interfacebloat // all that the two kinds differ in
	common() *core
	subject() Subject
	// clone returns a copy to work on; assign takes one over.
	clone() entity
	assign(from entity)
	// addTo adds setting the entity to a change, if it is active.
	addTo(*Change)
	// definition is the stored form of what was specified.
	definition() (Record, error)
}

// inventory is what the node has to keep in force.
type inventory struct {
	speedLimit   shaping.Limit
	policy       isolation.Policy
	peers        keytable.Map[*peer]
	accounts     map[string]*account
	peerOrder    ordered[*peer]
	accountOrder ordered[*account]
	deadlines    deadlines
	// caps are shared by the ledgers of all entities.
	caps *quota.Caps
	// quiet is what was seen of the connections of all peers that have none of their own.
	quiet quietPeers
	// sequence is the last one given to a peer or an account.
	sequence uint64

	// passed is what all peers moved since the node was made, removed ones too.
	passed quota.Counters

	// ranBefore is how long the node had run before it was started at since; see running.
	ranBefore time.Duration
	since     time.Time
	// surveyed is how long it had run when all handshakes were last read.
	surveyed time.Duration
}

func newInventory(speedLimit shaping.Limit, policy isolation.Policy) inventory {
	return inventory{
		speedLimit: speedLimit,
		policy:     policy,
		accounts:   make(map[string]*account),
		caps:       new(quota.Caps),
		since:      time.Now(),
	}
}

// running is how long the node has run until now, in all its life: a clock that stands while the node does not run, and that
// nobody can set.
func (inv *inventory) running(now time.Time) time.Duration { return inv.ranBefore + now.Sub(inv.since) }

// suspended reports whether an account is there and suspended.
func (inv *inventory) suspended(account string) bool {
	a, ok := inv.accounts[account]
	return ok && a.suspended
}

// receive fits a new peer in with what is there. The caller then puts it in force, and adds it.
func (inv *inventory) receive(p *peer, now time.Time) {
	p.accountSuspended = inv.suspended(p.account)
	p.seen = inv.running(now)
	p.expectIdle(now, p.seen)
}

// replace lets a revised copy take the place of an entity.
func (inv *inventory) replace(e, next entity) {
	if p, ok := e.(*peer); ok {
		q := next.(*peer)
		if q.key == p.key && q.connection == nil {
			q.connection, q.watchedSince = p.connection, p.watchedSince
		}
		if p.active() && !q.active() && q.readWithAll() {
			q.connection = inv.quiet.seen(q) // it is not read with the others any more
		}
		if q.key != p.key {
			inv.peers.Delete(p.key)
			defer inv.peers.Set(p)
		}
		if q.account != p.account {
			if a, ok := inv.accounts[p.account]; ok {
				a.peers.remove(p.sequence)
			}
			if a, ok := inv.accounts[q.account]; ok {
				a.peers.add(p)
			}
		}
	}
	if next.common().deadline == nil {
		next.common().deadline = e.common().deadline
	}
	e.assign(next)
	inv.caps.Share(e.common().ledger)
	inv.deadlines.set(e, e.common().wake())
}

// addPeer takes in a peer, whose account is there already.
func (inv *inventory) addPeer(p *peer) {
	inv.peers.Set(p)
	inv.caps.Share(p.ledger)
	inv.peerOrder.add(p)
	if a, ok := inv.accounts[p.account]; ok {
		a.peers.add(p)
	}
	inv.sequence = max(inv.sequence, p.sequence)
	inv.deadlines.set(p, p.wake())
}

// knowFormerKey counts the peers whose last handshake was with the node's former key.
func (inv *inventory) knowFormerKey() (count int) {
	for p := range inv.peers.All() {
		if c := p.connection; c != nil && c.key == p.key && c.formerKey {
			count++
		}
	}
	return count
}

func (inv *inventory) removePeer(p *peer) {
	inv.peers.Delete(p.key)
	inv.peerOrder.remove(p.sequence)
	if a, ok := inv.accounts[p.account]; ok {
		a.peers.remove(p.sequence)
	}
	inv.deadlines.set(p, time.Time{})
}

func (inv *inventory) addAccount(a *account) {
	inv.accounts[a.id] = a
	inv.caps.Share(a.ledger)
	inv.accountOrder.add(a)
	inv.sequence = max(inv.sequence, a.sequence)
	inv.deadlines.set(a, a.wake())
}

func (inv *inventory) removeAccount(a *account) {
	delete(inv.accounts, a.id)
	inv.accountOrder.remove(a.sequence)
	inv.deadlines.set(a, time.Time{})
}

// holds reports whether the entity is one of the node's still.
func (inv *inventory) holds(e entity) bool {
	found, ok := inv.find(e.subject())
	return ok && found == e
}

// find returns a peer or an account by name.
func (inv *inventory) find(s Subject) (entity, bool) {
	if key, ok := s.Peer(); ok {
		p, ok := inv.peers.Get(key)
		return p, ok
	}
	id, _ := s.Account()
	a, ok := inv.accounts[id]
	return a, ok
}

// entities yields accounts before peers, as a dataplane needs them.
func (inv *inventory) entities(yield func(entity) bool) {
	for _, a := range inv.accountOrder.entries {
		if !yield(a) {
			return
		}
	}
	for _, p := range inv.peerOrder.entries {
		if !yield(p) {
			return
		}
	}
}

// state is what the dataplane must have in force: all that is active.
func (inv *inventory) state() State {
	s := State{
		SpeedLimit: inv.speedLimit,
		Policy:     inv.policy.Clone(),
		Accounts:   make([]AccountState, 0, len(inv.accounts)),
		Peers:      make([]PeerState, 0, inv.peers.Len()),
	}
	for _, a := range inv.accountOrder.entries {
		s.Accounts = append(s.Accounts, a.state())
	}
	for _, p := range inv.peerOrder.entries {
		if p.active() {
			s.Peers = append(s.Peers, p.state())
		}
	}
	return s
}
