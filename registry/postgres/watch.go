package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waylume/waylume/registry"
)

// Watch implements [registry.Directory]. It has a connection of its own, on which it is notified of what changes about a server
// other than its figures, and looks at all servers each Config.PollInterval. It has no goroutine: the database is asked when the
// reader wants the next change. While the database cannot be had it goes on trying, and then yields what has changed meanwhile;
// only what trying again does not mend ends it, such as [registry.ErrDenied].
func (f *Fleet) Watch(ctx context.Context) iter.Seq2[registry.Change, error] {
	return func(yield func(registry.Change, error) bool) {
		w := &watcher{fleet: f, known: make(map[registry.ID]registry.Server), yield: yield}
		for failures := 0; ctx.Err() == nil; failures++ {
			err := w.listen(ctx, func() { failures = 0 })
			switch {
			case w.enough || ctx.Err() != nil:
				return
			case !errors.Is(err, registry.ErrUnavailable):
				yield(registry.Change{}, fmt.Errorf("watch servers: %w", err))
				return
			}
			wait := f.backoff(failures)
			f.cfg.Logger.WarnContext(ctx, "lost sight of the servers", "err", err, "retry_in", wait)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
}

// backoff is how long to wait before the next attempt: anything up to a bound that doubles.
func (f *Fleet) backoff(failures int) time.Duration {
	const first = 100 * time.Millisecond
	bound := min(first<<min(failures, 20), max(first, f.cfg.PollInterval))
	return rand.N(bound) + time.Millisecond //nolint:gosec // nobody gains by guessing it
}

const channel = "waylume_servers"

// together is how long to wait for more notifications after one.
const together = 20 * time.Millisecond

// watcher is a Watch under way.
type watcher struct {
	fleet  *Fleet
	known  map[registry.ID]registry.Server // as the reader knows them
	yield  func(registry.Change, error) bool
	enough bool // the reader has
	conn   *pgx.Conn
}

// listen yields changes for as long as one connection lasts. ready is called when that has begun.
func (w *watcher) listen(ctx context.Context, ready func()) (err error) {
	if err := w.connect(ctx); err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
		defer cancel()
		_ = w.conn.Close(closing) // it is of no more use, however it ends
	}()
	for first := true; ; first = false {
		if err := w.poll(ctx); err != nil || w.enough {
			return err
		}
		if first {
			ready()
		}
		if err := w.notified(ctx, w.fleet.cfg.PollInterval); err != nil || w.enough {
			return err
		}
	}
}

// connect begins to listen before anything is looked at, so that nothing is missed.
func (w *watcher) connect(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, w.fleet.limit())
	defer cancel()
	conn, err := pgx.ConnectConfig(limited, w.fleet.listening)
	if err != nil {
		return explain(ctx, err)
	}
	if _, err := conn.Exec(limited, "listen "+channel); err != nil {
		_ = conn.Close(limited) // the other error is the one to tell
		return explain(ctx, err)
	}
	w.conn = conn
	return nil
}

// notified looks at servers of which notifications come, until a time is over.
func (w *watcher) notified(ctx context.Context, d time.Duration) error {
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for until.Err() == nil && !w.enough {
		ids, err := w.wait(until)
		if ctx.Err() != nil || err != nil {
			return err
		}
		for id := range ids {
			if err := w.look(ctx, id); err != nil || w.enough {
				return err
			}
		}
	}
	return nil
}

// wait returns the servers of the next notification and of those that follow shortly after.
func (w *watcher) wait(until context.Context) (map[registry.ID]struct{}, error) {
	ids := make(map[registry.ID]struct{})
	if err := w.take(until, ids); err != nil || len(ids) == 0 {
		return ids, err
	}
	shortly, cancel := context.WithTimeout(until, together)
	defer cancel()
	for shortly.Err() == nil {
		if err := w.take(shortly, ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// take adds the server of the next notification, if one comes in time.
func (w *watcher) take(until context.Context, ids map[registry.ID]struct{}) error {
	n, err := w.conn.WaitForNotification(until)
	switch {
	case err == nil:
		ids[registry.ID(n.Payload)] = struct{}{}
	case until.Err() == nil || w.conn.IsClosed():
		return explain(until, err)
	}
	return nil
}

// look yields one server, if it is not as it was.
func (w *watcher) look(ctx context.Context, id registry.ID) error {
	limited, cancel := context.WithTimeout(ctx, w.fleet.limit())
	defer cancel()
	var answer []byte
	if err := w.conn.QueryRow(limited, "select waylume_server($1::text::uuid)", string(id)).Scan(&answer); err != nil {
		return explain(ctx, err)
	}
	var s registry.Server
	if answer != nil {
		if err := decode(answer, &s); err != nil {
			return err
		}
	}
	w.tell(id, s)
	return nil
}

// poll yields all servers that are not as they were.
func (w *watcher) poll(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, w.fleet.limit())
	defer cancel()
	var now time.Time
	var answers [][]byte
	if err := w.conn.QueryRow(limited, listSQL).Scan(&now, &answers); err != nil {
		return explain(ctx, err)
	}
	gone := maps.Clone(w.known)
	for _, answer := range answers {
		var s registry.Server
		if err := decode(answer, &s); err != nil {
			return err
		}
		delete(gone, s.ID)
		if w.tell(s.ID, s); w.enough {
			return nil
		}
	}
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		if w.tell(id, registry.Server{}); w.enough {
			return nil
		}
	}
	return nil
}

// tell yields a server if the reader does not know it like this. One without a heartbeat is gone.
func (w *watcher) tell(id registry.ID, s registry.Server) {
	was, known := w.known[id]
	gone := s.HeartbeatAt.IsZero()
	switch {
	case gone && !known, !gone && known && reflect.DeepEqual(was, s):
		return
	case gone:
		delete(w.known, id)
		if s.ID == "" {
			s = was
		}
	default:
		w.known[id] = s
	}
	w.enough = !w.yield(registry.Change{Server: s, Gone: gone}, nil)
}
