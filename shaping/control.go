package shaping

import "fmt"

// SetRoot sets the ceiling for all leaves together. It takes effect with the next packet. Errors match [ErrRateRange] and
// [ErrClosed].
func (s *Scheduler) SetRoot(rate Rate) error {
	if err := rate.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	s.limit = rate
	s.root.set(s.planner.Root(rate), s.moment())
	return nil
}

// SetGroup makes a group, or changes the ceiling that its leaves share, from the next packet on. Errors match [ErrRateRange],
// [ErrName] and [ErrClosed].
func (s *Scheduler) SetGroup(id string, rate Rate) error {
	if err := firstError(checkName(id), rate.Validate()); err != nil {
		return fmt.Errorf("group %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	if g, ok := s.groups[id]; ok {
		g.set(rate)
	} else {
		s.groups[id] = s.newGroup(rate)
	}
	return nil
}

// RemoveGroup removes a group that has no leaves; one that is not there is removed already. Errors match [ErrGroupInUse] and
// [ErrClosed].
func (s *Scheduler) RemoveGroup(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	g, ok := s.groups[id]
	if !ok {
		return nil
	}
	if g.leaves > 0 {
		return fmt.Errorf("group %q: %w: %d; remove or move them first", id, ErrGroupInUse, g.leaves)
	}
	g.mu.Lock()
	s.awaitLater(g)
	g.mu.Unlock()
	delete(s.groups, id)
	return nil
}

// SetLeaf makes a leaf in a group, or directly under the root for group "". For a leaf that is there it changes limit and
// group in place: what is queued stays queued, in order, and moves under the new ceilings at once. Errors match
// [ErrRateRange], [ErrName], [ErrNoGroup] and [ErrClosed], and then nothing has changed.
func (s *Scheduler) SetLeaf(id, group string, rate Rate) (*Leaf, error) {
	if err := firstError(checkName(id), rate.Validate()); err != nil {
		return nil, fmt.Errorf("leaf %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return nil, err
	}
	parent, ok := s.groups[group]
	if !ok && group != "" {
		return nil, fmt.Errorf("leaf %q: %w", id, noGroup(group))
	}
	l, ok := s.leaves[id]
	switch {
	case !ok:
		l = &Leaf{id: id}
		l.timer.owner = l
		s.leaves[id] = l
	case l.parent == group:
		parent = l.group.Load()
	}
	if parent == nil {
		parent = s.newGroup(Unlimited)
	}
	l.set(parent, group, rate)
	return l, nil
}

// set puts the leaf in a group, which may be the one it is in, under a limit. Scheduler.mu is held, and keeps others from
// locking two groups at a time.
func (l *Leaf) set(to *group, name string, rate Rate) {
	s := to.sched
	params := s.planner.inner(rate)
	limited := params.Ceil < MaxRate
	from := l.group.Load()
	to.mu.Lock()
	defer to.mu.Unlock()
	at := s.moment()
	if from == nil {
		l.group.Store(to)
		to.leaves++
	}
	if from != nil && from != to {
		from.mu.Lock()
		from.leave(l)
		if from.draining && l.flight == from.flight && !l.isHeld {
			// Output still has packets of this leaf; were the new group to send now, it could overtake them.
			l.isHeld, l.nextHeld, from.held = true, from.held, l
		}
		l.flight = 0
		from.leaves--
		to.leaves++
		s.awaitLater(from)
		// A limit that is set holds before the group changes, and one that is lifted after, see Unshaped.
		if limited {
			l.limited.Store(true)
		}
		l.group.Store(to)
		from.mu.Unlock()
	} else {
		to.leave(l)
	}
	l.rate, l.parent = rate, name
	l.bucket.set(params, at)
	l.slot, l.limit = slotOf(s.planner, params), int64(s.planner.queueBytes(params.Ceil))
	l.limited.Store(limited)
	if l.queue != nil && !l.isHeld {
		to.enter(l, at)
		to.settle(at, false)
	}
}

// RemoveLeaf removes a leaf and drops what it has queued; what it enqueues from then on is dropped. A leaf that is not there
// is removed already.
func (s *Scheduler) RemoveLeaf(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.leaves[id]
	if !ok {
		return
	}
	delete(s.leaves, id)
	g := l.lock()
	defer g.mu.Unlock()
	l.removed = true
	l.limited.Store(true) // or Unshaped would invite packets past
	l.clear(g)
	g.leaves--
	if l.parent == "" {
		s.awaitLater(g)
	}
}

// Leaf returns the leaf of a name, for callers that do not keep what SetLeaf returned.
func (s *Scheduler) Leaf(id string) (*Leaf, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.leaves[id]
	return l, ok
}

// Hierarchy returns what is set, for comparison with what ought to be: see [Planner.Steps].
func (s *Scheduler) Hierarchy() Hierarchy {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Hierarchy{Root: s.limit, Groups: make(map[string]Rate, len(s.groups)), Leaves: make(map[string]LeafSpec, len(s.leaves))}
	for id, g := range s.groups {
		h.Groups[id] = g.rate
	}
	for id, l := range s.leaves {
		h.Leaves[id] = LeafSpec{Group: l.parent, Rate: l.rate}
	}
	return h
}

// Planner returns the planner whose arithmetic the scheduler follows.
func (s *Scheduler) Planner() *Planner { return s.planner }

// Apply makes one step of a plan. Steps can be made again: what is so already is left as it is. Errors are those of SetRoot,
// SetGroup, RemoveGroup and SetLeaf.
func (s *Scheduler) Apply(step Step) error {
	class := step.Class
	switch {
	case class.Kind == KindRoot && step.Op != OpRemove:
		return s.SetRoot(class.Limit)
	case class.Kind == KindGroup && step.Op == OpRemove:
		return s.RemoveGroup(class.ID)
	case class.Kind == KindGroup:
		return s.SetGroup(class.ID, class.Limit)
	case class.Kind == KindLeaf && step.Op == OpRemove:
		s.RemoveLeaf(class.ID)
		return nil
	case class.Kind == KindLeaf:
		_, err := s.SetLeaf(class.ID, class.Group, class.Limit)
		return err
	}
	return fmt.Errorf("shaping: step %q makes no sense", step)
}

// open returns ErrClosed after Close; s.mu is held.
func (s *Scheduler) open() error {
	if s.state.Load() == stateClosed {
		return ErrClosed
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
