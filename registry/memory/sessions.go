package memory

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/registry"
)

var _ registry.Sessions = (*Fleet)(nil)

// Begin implements [registry.Sessions].
func (f *Fleet) Begin(ctx context.Context, n registry.NewSession) (registry.Session, error) {
	if err := ctx.Err(); err != nil {
		return registry.Session{}, err
	}
	if err := n.Validate(); err != nil {
		return registry.Session{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	f.forgetLocked(now)
	asked := request{n.User, n.IdempotencyKey}
	if s := f.asked[asked]; s != nil {
		if s.PublicKey != n.PublicKey {
			return registry.Session{}, fmt.Errorf("%w: the idempotency key was used for another public key", registry.ErrConflict)
		}
		return cloneSession(s.Session), nil
	}
	if other := f.live[n.PublicKey]; other != nil {
		return registry.Session{}, fmt.Errorf("%w: the public key is that of session %s, which has not ended", registry.ErrConflict, other.ID)
	}
	s := &session{Session: cloneSession(registry.Session{
		ID: registry.SessionID(f.cfg.NewID()), User: n.User, IdempotencyKey: n.IdempotencyKey, PublicKey: n.PublicKey,
		Query: n.Query, Peer: n.Peer, CreatedAt: now, ExpiresAt: n.ExpiresAt,
	})}
	if err := f.placeLocked(s, s.Query, now); err != nil {
		return registry.Session{}, err
	}
	f.sessions[s.ID] = s
	f.live[s.PublicKey] = s
	f.asked[asked] = s
	return cloneSession(s.Session), nil
}

// Confirm implements [registry.Sessions].
func (f *Fleet) Confirm(
	ctx context.Context, id registry.SessionID, generation int64, addresses []netip.Addr,
) (registry.Session, error) {
	return f.change(ctx, id, func(s *session, now time.Time) error {
		if err := s.is(generation); err != nil {
			return err
		}
		if s.State != registry.Active {
			s.State, s.ConfirmedAt = registry.Active, now
		}
		s.Addresses = slices.Clone(addresses)
		return nil
	})
}

// Move implements [registry.Sessions].
func (f *Fleet) Move(ctx context.Context, id registry.SessionID, generation int64, exclude ...registry.ID) (registry.Session, error) {
	if err := (registry.Query{Exclude: exclude}).Validate(); err != nil {
		return registry.Session{}, err
	}
	return f.change(ctx, id, func(s *session, now time.Time) error {
		if err := s.is(generation); err != nil {
			return err
		}
		q := s.Query
		q.Current = ""
		q.Exclude = slices.Concat(q.Exclude, exclude, []registry.ID{s.Server})
		if owner := f.servers[s.Server]; !owner.Fresh(now, time.Duration(q.Freshness)*time.Second) {
			q.MaxLoad = 1 // a session that nobody serves is better served slowly
		}
		return f.placeLocked(s, q, now)
	})
}

// End implements [registry.Sessions].
func (f *Fleet) End(ctx context.Context, id registry.SessionID, reason string) (registry.Session, error) {
	return f.change(ctx, id, func(s *session, now time.Time) error {
		if s.State == registry.Ended {
			return nil
		}
		f.releaseLocked(s)
		s.State, s.EndedAt, s.EndReason = registry.Ended, now, reason
		delete(f.live, s.PublicKey)
		f.ended.PushBack(s)
		return nil
	})
}

// Session returns one as it is now. Errors: [registry.ErrUnknownSession].
func (f *Fleet) Session(ctx context.Context, id registry.SessionID) (registry.Session, error) {
	return f.change(ctx, id, func(*session, time.Time) error { return nil })
}

// Stranded implements [registry.Sessions].
func (f *Fleet) Stranded(ctx context.Context, freshness time.Duration, limit int) ([]registry.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if freshness < 0 || limit < 1 {
		return nil, fmt.Errorf("%w: freshness %s or limit %d: the one is at least 0, the other at least 1", registry.ErrInvalid, freshness, limit)
	}
	if freshness == 0 {
		freshness = registry.DefaultFreshness
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	var stranded []*session
	for _, s := range f.live {
		owner := f.servers[s.Server]
		switch {
		case owner.gone, owner.Draining, !owner.Fresh(now, freshness),
			s.State == registry.Placing && now.Sub(s.PlacedAt) > freshness, s.expired(now):
			stranded = append(stranded, s)
		}
	}
	slices.SortFunc(stranded, func(a, b *session) int {
		if c := a.PlacedAt.Compare(b.PlacedAt); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	sessions := make([]registry.Session, min(limit, len(stranded)))
	for i := range sessions {
		sessions[i] = cloneSession(stranded[i].Session)
	}
	return sessions, nil
}

// change does something with a session, and returns what it is then. What fails has changed nothing.
func (f *Fleet) change(
	ctx context.Context, id registry.SessionID, do func(*session, time.Time) error,
) (registry.Session, error) {
	if err := ctx.Err(); err != nil {
		return registry.Session{}, err
	}
	if err := id.Validate(); err != nil {
		return registry.Session{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sessions[id]
	if s == nil {
		return registry.Session{}, fmt.Errorf("%w: %s", registry.ErrUnknownSession, id)
	}
	if err := do(s, f.now()); err != nil {
		return registry.Session{}, err
	}
	return cloneSession(s.Session), nil
}

// placeLocked gives a session its next generation, on the server that a query selects, and has the former one release it.
func (f *Fleet) placeLocked(s *session, q registry.Query, now time.Time) error {
	q.SessionKey = string(s.ID)
	selection := f.selectLocked(q)
	if err := selection.Err(); err != nil {
		return err
	}
	if s.Generation > 0 {
		f.releaseLocked(s)
	}
	to := f.servers[selection.Server.ID]
	s.Server = to.ID
	s.Generation++
	s.State, s.PlacedAt, s.ConfirmedAt = registry.Placing, now, time.Time{}
	p := &placement{session: s, server: to, generation: s.Generation, placedAt: now}
	s.placements = append(s.placements, p)
	to.placements[s.PublicKey] = append(to.placements[s.PublicKey], p)
	to.Assigned++
	f.changeLocked(to)
	return nil
}

// forgetLocked removes sessions that ended long ago.
func (f *Fleet) forgetLocked(now time.Time) {
	for e := f.ended.Front(); e != nil; e = f.ended.Front() {
		s := e.Value.(*session)
		if now.Sub(s.EndedAt) < f.cfg.Retention {
			return
		}
		f.ended.Remove(e)
		delete(f.sessions, s.ID)
		delete(f.asked, request{s.User, s.IdempotencyKey})
		for _, p := range s.placements {
			all := p.server.placements
			all[s.PublicKey] = slices.DeleteFunc(all[s.PublicKey], func(other *placement) bool { return other == p })
			if len(all[s.PublicKey]) == 0 {
				delete(all, s.PublicKey)
			}
		}
	}
}

// is fails unless the session is in this generation and has not ended.
func (s *session) is(generation int64) error {
	switch {
	case s.State == registry.Ended:
		return fmt.Errorf("%w: session %s has ended", registry.ErrConflict, s.ID)
	case s.Generation != generation:
		return fmt.Errorf("%w: session %s is in generation %d, not %d", registry.ErrConflict, s.ID, s.Generation, generation)
	}
	return nil
}

func (s *session) expired(now time.Time) bool {
	return !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt)
}
