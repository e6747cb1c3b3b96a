package shaping

import "time"

// push queues packets, and drops what the bounds do not allow.
func (l *Leaf) push(g *group, packets []*Packet, at moment) {
	s := g.sched
	if l.queue == nil {
		l.queue = s.tables.Get().(*flowTable)
		l.busy.Store(true)
	}
	free := s.memory.limit - s.memory.queued.Load()
	limit := min(l.limit, g.queue, s.root.queue.Load())
	for _, p := range packets {
		if !validSize(p) {
			l.dropped.free(p)
			continue
		}
		p.queuedAt = at.now
		l.queue.push(p, int32(s.quantum))
		l.packets++
		l.bytes += int64(len(p.Data))
		g.memory += s.memory.buffer
		for l.packets > 0 && (l.bytes > limit || !s.memory.allows(l.packets, free-g.memory)) {
			l.overflow(g)
		}
	}
	g.report()
	switch {
	case l.packets == 0:
		g.leave(l)
		l.rest(s)
	case l.place == placeIdle && !l.isHeld:
		g.enter(l, at)
	}
}

// overflow makes room: it drops the oldest packets of the flow that has most queued, up to half of them, so that it need not
// be searched for again with the next packet (RFC 8290 section 4.1.2; oldest, since that tells a sender soonest).
func (l *Leaf) overflow(g *group) {
	const most = 16
	var dropped tally
	q := l.queue.fattest()
	half := q.bytes / 2
	for range most {
		dropped.free(q.pop())
		if q.bytes <= half {
			break
		}
	}
	l.lose(g, dropped)
}

// lose accounts for packets that were dropped from the queue.
func (l *Leaf) lose(g *group, dropped tally) {
	l.packets -= int64(dropped.packets)
	l.bytes -= int64(dropped.bytes)
	l.dropped.packets += dropped.packets
	l.dropped.bytes += dropped.bytes
	g.memory -= int64(dropped.packets) * g.sched.memory.buffer
}

// pop takes the next packet to send from the queue, nil if CoDel dropped all there was.
func (l *Leaf) pop(g *group, now int64) *Packet {
	s := g.sched
	var dropped tally
	p := l.queue.pop(now, int32(s.quantum), l.codelParams(g), &dropped)
	if dropped.packets > 0 {
		l.lose(g, dropped)
	}
	if p != nil {
		l.packets--
		l.bytes -= int64(len(p.Data))
		g.memory -= s.memory.buffer
	}
	return p
}

// codelParams adapts CoDel to the rate that the leaf can have now: its ceiling, or its share of a ceiling above it.
func (l *Leaf) codelParams(g *group) codelParams {
	r := &g.sched.root
	params := g.sched.codel
	slot := max(l.slot, g.slot*g.backlogged(), r.slot.Load()*(r.waiting.Load()+1))
	if slot > params.target {
		target, interval := g.sched.planner.codel(time.Duration(slot))
		params.target, params.interval = int64(target), int64(interval)
	}
	params.spare(g.sched.mtu, slot)
	return params
}

// clear drops all that is queued.
func (l *Leaf) clear(g *group) {
	g.leave(l)
	if l.queue == nil {
		return
	}
	var dropped tally
	for i := range l.queue.queues {
		for p := l.queue.queues[i].pop(); p != nil; p = l.queue.queues[i].pop() {
			dropped.free(p)
		}
	}
	l.lose(g, dropped)
	g.report()
	l.rest(g.sched)
}

// rest returns what a leaf needs only while it has a backlog.
func (l *Leaf) rest(s *Scheduler) {
	*l.queue = flowTable{}
	s.tables.Put(l.queue)
	l.queue = nil
	l.place = placeIdle
	l.bucket.trim()
	l.busy.Store(false)
}
