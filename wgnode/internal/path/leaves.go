package path

import (
	"maps"
	"sync"

	"github.com/waylume/waylume/shaping"
)

// leaves are where a peer's packets wait for its speed limit. Its first packet makes them, and [Path.Sweep] gives them back when
// the peer is idle:
//
//	none --- a packet ---> in use --- Sweep: idle ---> aside --- Sweep: idle still ---> none
//	                         ^                           |
//	                         +-------- a packet ---------+
//
// Aside, the schedulers have them still and the peer has not: who was about to put a packet there when they were set aside has
// done so long before the next Sweep.
type leaves struct {
	down, up *shaping.Leaf
}

func (l *leaves) idle() bool { return l.down.Idle() && l.up.Idle() }

// shapedPeers are those of whom the schedulers have leaves.
type shapedPeers struct {
	mu  sync.Mutex // taken after a peer's rates.mu
	all map[*peer]*leaves
}

// leavesOf returns the leaves of a peer; nil when the peer has left, or the path is closed.
func (p *Path) leavesOf(pr *peer) *leaves {
	if l := pr.leaves.Load(); l != nil {
		return l
	}
	return p.firstLeaves(pr)
}

func (p *Path) firstLeaves(pr *peer) *leaves {
	pr.rates.mu.Lock()
	defer pr.rates.mu.Unlock()
	if l := pr.leaves.Load(); l != nil {
		return l
	}
	if pr.gone.Load() {
		return nil
	}
	if p.makeLeavesLocked(pr) != nil {
		return nil
	}
	return pr.leaves.Load()
}

// makeLeavesLocked gives the peer leaves with the limit that is to be in force, in its account's group; those that there are it
// changes. The peer's rates.mu is held.
func (p *Path) makeLeavesLocked(pr *peer) error {
	limit, id, group := pr.rates.limitLocked(pr.meter.Depleted()), pr.member.Load().ID(), ""
	if a := pr.account.Load(); a != nil {
		group = a.id
	}
	down, err := p.down.SetLeaf(id, group, limit.Download)
	if err != nil {
		return err
	}
	up, err := p.up.SetLeaf(id, group, limit.Upload)
	if err != nil {
		return err
	}
	if l := pr.leaves.Load(); l != nil && l.down == down && l.up == up {
		return nil
	}
	l := &leaves{down, up}
	pr.leaves.Store(l)
	pr.shaped = true
	p.shaped.mu.Lock()
	p.shaped.all[pr] = l
	p.shaped.mu.Unlock()
	return nil
}

// reshape puts in force what a peer's limit comes to now, where it has leaves.
func (p *Path) reshape(pr *peer) error {
	pr.rates.mu.Lock()
	defer pr.rates.mu.Unlock()
	return p.reshapeLocked(pr)
}

func (p *Path) reshapeLocked(pr *peer) error {
	if !pr.shaped {
		return nil
	}
	return p.makeLeavesLocked(pr)
}

// restLeaves gives back the leaves of idle peers.
func (p *Path) restLeaves() {
	p.shaped.mu.Lock()
	all := maps.Clone(p.shaped.all)
	p.shaped.mu.Unlock()
	for pr, l := range all {
		if l.idle() {
			p.restPeer(pr)
		}
	}
}

// restPeer sets the leaves of an idle peer aside or, if they are, removes them.
func (p *Path) restPeer(pr *peer) {
	pr.rates.mu.Lock()
	defer pr.rates.mu.Unlock()
	if pr.leaves.Swap(nil) == nil {
		p.removeLeavesLocked(pr)
	}
}

// removeLeavesLocked removes the leaves of a peer with what is queued; the peer's rates.mu is held.
func (p *Path) removeLeavesLocked(pr *peer) {
	pr.leaves.Store(nil)
	if !pr.shaped {
		return
	}
	pr.shaped = false
	id := pr.member.Load().ID()
	p.down.RemoveLeaf(id)
	p.up.RemoveLeaf(id)
	p.shaped.mu.Lock()
	delete(p.shaped.all, pr)
	p.shaped.mu.Unlock()
}
