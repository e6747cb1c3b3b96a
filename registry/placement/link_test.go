package placement_test

import (
	"context"
	"iter"
	"net/netip"
	"time"

	"github.com/waylume/waylume/registry"
)

// link is the registry as controllers reach it.
type link struct{ w *world }

func (l link) Begin(ctx context.Context, s registry.NewSession) (registry.Session, error) {
	return around(ctx, l.w, "begin", func() (registry.Session, error) { return l.w.fleet.Begin(l.w.ctx, s) })
}

func (l link) Confirm(ctx context.Context, id registry.SessionID, generation int64, addresses []netip.Addr) (registry.Session, error) {
	return around(ctx, l.w, "confirm", func() (registry.Session, error) { return l.w.fleet.Confirm(l.w.ctx, id, generation, addresses) })
}

func (l link) Move(ctx context.Context, id registry.SessionID, generation int64, exclude ...registry.ID) (registry.Session, error) {
	return around(ctx, l.w, "move", func() (registry.Session, error) { return l.w.fleet.Move(l.w.ctx, id, generation, exclude...) })
}

func (l link) End(ctx context.Context, id registry.SessionID, reason string) (registry.Session, error) {
	return around(ctx, l.w, "end", func() (registry.Session, error) { return l.w.fleet.End(l.w.ctx, id, reason) })
}

func (l link) Stranded(ctx context.Context, freshness time.Duration, limit int) ([]registry.Session, error) {
	return around(ctx, l.w, "stranded", func() ([]registry.Session, error) { return l.w.fleet.Stranded(l.w.ctx, freshness, limit) })
}

func (l link) List(ctx context.Context, f registry.Filter) ([]registry.Server, error) {
	return around(ctx, l.w, "list", func() ([]registry.Server, error) { return l.w.fleet.List(l.w.ctx, f) })
}

func (l link) Select(ctx context.Context, q registry.Query) (registry.Selection, error) {
	return around(ctx, l.w, "select", func() (registry.Selection, error) { return l.w.fleet.Select(l.w.ctx, q) })
}

func (l link) Watch(ctx context.Context) iter.Seq2[registry.Change, error] {
	return l.w.fleet.Watch(ctx)
}
