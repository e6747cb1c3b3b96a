package fleet

import (
	"context"
	"slices"
	"sync"

	"github.com/waylume/waylume/registry"
)

// locks has one holder of a session at a time.
type locks struct {
	mu   sync.Mutex
	held map[registry.SessionID]*lock
}

// lock is of one session; who wants it is counted, so that it goes when nobody does.
type lock struct {
	turn  chan struct{}
	users int
}

// lock takes the locks of sessions, in one order for all.
func (l *locks) lock(ctx context.Context, sessions map[registry.SessionID]int64) (unlock func(), err error) {
	order := make([]registry.SessionID, 0, len(sessions))
	for session := range sessions {
		order = append(order, session)
	}
	slices.Sort(order)
	for i, session := range order {
		if !l.use(session).take(ctx) {
			l.leave(session)
			l.unlock(order[:i])
			return nil, context.Cause(ctx)
		}
	}
	return func() { l.unlock(order) }, nil
}

func (l *locks) use(session registry.SessionID) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[registry.SessionID]*lock)
	}
	one := l.held[session]
	if one == nil {
		one = &lock{turn: make(chan struct{}, 1)}
		l.held[session] = one
	}
	one.users++
	return one
}

func (l *lock) take(ctx context.Context) bool {
	select {
	case l.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave ends the use of a session's lock.
func (l *locks) leave(session registry.SessionID) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.held[session]
	if one.users--; one.users == 0 {
		delete(l.held, session)
	}
	return one
}

func (l *locks) unlock(sessions []registry.SessionID) {
	for _, session := range sessions {
		<-l.leave(session).turn
	}
}
