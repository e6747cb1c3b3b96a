package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/waylume/waylume/registry"
)

const (
	// workTimeout is for Node.Release and OnDraining, which do more than answer.
	workTimeout = time.Minute
	// After a failure they are tried again within firstBackoff, which doubles up to maxWorkBackoff; at least half of it passes.
	maxWorkBackoff = time.Minute
)

// work is what the goroutine knows that carries out what the fleet wants.
type work struct {
	*Member
	failures int
	told     bool // OnDraining was told draining
	draining bool
	// done are the releases of the last answer that was carried out: the next may have come before these were acknowledged.
	done []registry.Release
}

// works carries out releases and tells of draining until the context ends or nothing is to be asked any more. Heartbeats go on
// meanwhile, and bring the same again for as long as it is not acknowledged: nothing queues here but the latest answer.
func (m *Member) works(ctx context.Context) {
	w := &work{Member: m}
	wait, woken := time.Duration(0), m.workWake
	for m.sleep(ctx, wait, woken) {
		if err := w.carryOut(ctx); err != nil {
			w.failures++
			ceiling := maxWorkBackoff
			if w.failures < 8 {
				ceiling = min(ceiling, firstBackoff<<w.failures)
			}
			wait, woken = m.pace.around(ceiling*3/4, 1.0/3), nil // an answer that comes meanwhile is no reason to try sooner
			continue
		}
		w.failures = 0
		wait, woken = time.Hour, m.workWake
	}
}

// carryOut does what the latest answer calls for.
func (w *work) carryOut(ctx context.Context) error {
	w.mu.Lock()
	orders, of := w.orders, w.ordersOf
	w.mu.Unlock()
	if of == "" || of != w.store.known().Server {
		return nil // nothing was wanted yet, or of a server that the node is no longer
	}
	drainErr := w.tellDraining(ctx, orders.Draining)

	ordered := inOrder(orders.Releases)
	due := without(ordered, w.done)
	if len(due) == 0 {
		return errors.Join(drainErr, w.keep(func(*file) {})) // what was carried out may not be on the disk yet
	}
	err := w.release(ctx, due)
	if err == nil {
		w.done = ordered
		err = w.keep(func(f *file) {
			if f.Server == of {
				f.Released = max(f.Released, due[len(due)-1].Sequence)
			}
		})
	}
	if err != nil {
		return errors.Join(drainErr, err)
	}
	w.log(slog.LevelInfo, "released sessions that are not the node's any more", "sessions", len(due), "upto", due[len(due)-1].Sequence)
	if orders.More {
		w.beatNow()
	}
	return drainErr
}

func (w *work) release(ctx context.Context, due []registry.Release) error {
	limited, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	w.mu.Lock()
	w.state.PendingReleases = len(due)
	w.mu.Unlock()
	err := w.cfg.Node.Release(limited, due)
	w.mu.Lock()
	was := w.state.ReleaseError
	w.state.ReleaseError = err
	if err == nil {
		w.state.PendingReleases = 0
	}
	w.mu.Unlock()
	switch {
	case err != nil && was == nil:
		w.log(slog.LevelError, "sessions could not be released; they are not acknowledged, and it is tried again",
			"sessions", len(due), "error", err)
	case err == nil && was != nil:
		w.log(slog.LevelInfo, "sessions can be released again")
	}
	return err
}

func (w *work) tellDraining(ctx context.Context, draining bool) error {
	w.mu.Lock()
	w.state.FleetDraining = draining
	w.mu.Unlock()
	if w.told && w.draining == draining {
		return nil
	}
	if w.cfg.OnDraining != nil {
		limited, cancel := context.WithTimeout(ctx, workTimeout)
		defer cancel()
		if err := w.cfg.OnDraining(limited, draining); err != nil {
			if w.failures == 0 {
				w.log(slog.LevelError, "what the fleet wants about draining could not be carried out; it is tried again",
					"draining", draining, "error", err)
			}
			return fmt.Errorf("tell of draining: %w", err)
		}
	}
	w.told, w.draining = true, draining
	return nil
}

// inOrder returns releases in order up to the first gap: what lies behind one comes again.
func inOrder(releases []registry.Release) []registry.Release {
	ordered := slices.Clone(releases)
	slices.SortStableFunc(ordered, func(a, b registry.Release) int { return cmp.Compare(a.Sequence, b.Sequence) })
	ordered = slices.Compact(ordered)
	for i := 1; i < len(ordered); i++ {
		if ordered[i].Sequence > ordered[i-1].Sequence+1 {
			return ordered[:i]
		}
	}
	return ordered
}

// without returns the releases but those that were done. That one has a number which the node has passed does not mean that it
// was: an answer has only what is above the number which its heartbeat told, so that where it is not above the present one, either
// the same release was carried out since, or a registry that was set back has given the number to another.
func without(releases, done []registry.Release) []registry.Release {
	if len(done) == 0 {
		return releases
	}
	was := make(map[registry.Release]bool, len(done))
	for _, r := range done {
		was[r] = true
	}
	return slices.DeleteFunc(slices.Clone(releases), func(r registry.Release) bool { return was[r] })
}
