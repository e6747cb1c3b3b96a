package postgres

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waylume/waylume/registry"
)

var _ registry.Sessions = (*Fleet)(nil)

// Begin implements [registry.Sessions]. What a server is to be asked for comes back as jsonb writes it: the same value, in other letters.
func (f *Fleet) Begin(ctx context.Context, s registry.NewSession) (registry.Session, error) {
	var session registry.Session
	if err := s.Validate(); err != nil {
		return session, err
	}
	in, err := encode(s)
	if err == nil {
		err = f.call(ctx, &session, "select waylume_session_begin($1::jsonb)", in)
	}
	if err != nil {
		return registry.Session{}, fmt.Errorf("begin a session: %w", err)
	}
	return session, nil
}

// Confirm implements [registry.Sessions].
func (f *Fleet) Confirm(
	ctx context.Context, id registry.SessionID, generation int64, addresses []netip.Addr,
) (registry.Session, error) {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return f.session(ctx, "confirm", id, "select waylume_session_confirm($1::uuid, $2, $3)", string(id), generation, texts)
}

// Move implements [registry.Sessions].
func (f *Fleet) Move(ctx context.Context, id registry.SessionID, generation int64, exclude ...registry.ID) (registry.Session, error) {
	if err := (registry.Query{Exclude: exclude}).Validate(); err != nil {
		return registry.Session{}, fmt.Errorf("move session %s: %w", id, err)
	}
	texts := make([]string, len(exclude))
	for i, e := range exclude {
		texts[i] = string(e)
	}
	return f.session(ctx, "move", id, "select waylume_session_move($1::uuid, $2, $3::text[]::uuid[])", string(id), generation, texts)
}

// End implements [registry.Sessions].
func (f *Fleet) End(ctx context.Context, id registry.SessionID, reason string) (registry.Session, error) {
	return f.session(ctx, "end", id, "select waylume_session_end($1::uuid, $2)", string(id), reason)
}

// Session returns one as it is now. Errors: [registry.ErrUnknownSession], [registry.ErrInvalid], [registry.ErrUnavailable].
func (f *Fleet) Session(ctx context.Context, id registry.SessionID) (registry.Session, error) {
	return f.session(ctx, "look at", id, "select waylume_session($1::uuid)", string(id))
}

// session calls a function that returns a session, or null where there is none.
func (f *Fleet) session(ctx context.Context, what string, id registry.SessionID, sql string, args ...any) (registry.Session, error) {
	var session registry.Session
	err := id.Validate()
	if err == nil {
		err = f.call(ctx, &session, sql, args...)
	}
	if err == nil && session.ID == "" {
		err = registry.ErrUnknownSession
	}
	if err != nil {
		return registry.Session{}, fmt.Errorf("%s session %s: %w", what, id, err)
	}
	return session, nil
}

// Stranded implements [registry.Sessions]. Freshness counts in whole seconds, and is rounded up.
func (f *Fleet) Stranded(ctx context.Context, freshness time.Duration, limit int) ([]registry.Session, error) {
	const most = 100_000
	if freshness < 0 || limit < 1 {
		return nil, fmt.Errorf("%w: freshness %s or limit %d: the one is at least 0, the other at least 1", registry.ErrInvalid, freshness, limit)
	}
	seconds := int32(min((freshness+time.Second-1)/time.Second, 1<<30)) //nolint:gosec // it is in range
	var answers [][]byte
	err := f.query(ctx, func(row pgx.Row) error { return row.Scan(&answers) },
		"select array(select waylume_sessions_stranded($1, $2))", seconds, min(limit, most))
	if err != nil {
		return nil, fmt.Errorf("look for stranded sessions: %w", err)
	}
	sessions := make([]registry.Session, len(answers))
	for i, answer := range answers {
		if err := decode(answer, &sessions[i]); err != nil {
			return nil, fmt.Errorf("look for stranded sessions: %w", err)
		}
	}
	return sessions, nil
}

// Prune forgets what is older than a number of whole days, 1 at least: sessions that have ended with their idempotency keys,
// usage, and events. It returns how many rows went. Somebody should do it every day.
func (f *Fleet) Prune(ctx context.Context, days int) (int64, error) {
	const most = 100_000
	var rows int64
	if days < 1 || days > most {
		return 0, fmt.Errorf("%w: %d days are not in the range 1 to %d", registry.ErrInvalid, days, most)
	}
	err := f.query(ctx, func(row pgx.Row) error { return row.Scan(&rows) }, "select waylume_prune($1)", days)
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	return rows, nil
}
