package shaping

const (
	// maxBorrow is how many bytes a drain borrows from the root at once.
	maxBorrow = 16 << 10
	// maxTurn bounds a group's turn at the root, in bytes, and with it how long the others wait.
	maxTurn = 64 << 10
	// maxBatches bounds how long Enqueue goes on with what others enqueue meanwhile; the pacer takes over then.
	maxBatches = 4
)

// drain hands to Output what is in b and what else may leave the group now. It is called with g.mu held, by whoever found the
// group neither draining nor queued, and unlocks it. While it runs, others only leave their packets in the queue: there is
// one drain per group at a time, which is what keeps the order of each leaf.
func (g *group) drain(b *batch, at moment) {
	g.draining = true
	for range maxBatches {
		if g.ready.head != nil || g.waiting.next() <= at.now {
			granted, charged := g.sched.root.borrow(maxBorrow, at)
			if rest := g.collect(b, at, granted); charged {
				g.sched.root.repay(rest)
			}
		}
		if b.n == 0 {
			break
		}
		if g.send(b); g.backlogged() == 0 {
			break // without another look at the clock, which costs as much as all the rest
		}
		at = g.sched.moment()
	}
	g.finish(at, false)
}

// takeTurn is a drain that the root's ring began: one batch, of what the root granted.
func (g *group) takeTurn(b *batch, at moment, granted int64) {
	g.mu.Lock()
	g.queued, g.draining = false, true
	rest := g.collect(b, at, granted)
	g.sched.root.settle(g, granted, rest)
	if b.n > 0 {
		if g.send(b); g.backlogged() > 0 {
			at = g.sched.moment()
		}
	}
	g.finish(at, true)
}

// send calls Output, with no lock held.
func (g *group) send(b *batch) {
	g.mu.Unlock()
	g.sched.output(b.packets[:b.n])
	b.reset()
	g.mu.Lock()
	g.flight++
	if held := g.held; held != nil {
		g.held = nil
		g.mu.Unlock()
		releaseHeld(held)
		g.mu.Lock()
	}
}

// finish ends a drain and unlocks the group.
func (g *group) finish(at moment, resume bool) {
	g.draining = false
	g.settle(at, resume)
	if g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
	g.mu.Unlock()
}

// releaseHeld lets leaves go on that were moved to another group while Output had packets of theirs.
func releaseHeld(l *Leaf) {
	for l != nil {
		next := l.nextHeld
		g := l.lock()
		l.nextHeld, l.isHeld = nil, false
		if l.queue != nil {
			at := g.sched.moment()
			g.enter(l, at)
			g.settle(at, false)
		}
		g.mu.Unlock()
		l = next
	}
}
