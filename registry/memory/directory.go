package memory

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/google/uuid"

	"github.com/waylume/waylume/registry"
)

var _ registry.Directory = (*Fleet)(nil)

// List implements [registry.Directory].
func (f *Fleet) List(ctx context.Context, filter registry.Filter) ([]registry.Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	var servers []registry.Server
	for _, s := range f.servers {
		if !s.gone && filter.Match(&s.Server, now) {
			servers = append(servers, cloneServer(s.Server))
		}
	}
	slices.SortFunc(servers, func(a, b registry.Server) int { return cmp.Compare(a.Name, b.Name) })
	return servers, nil
}

// Watch implements [registry.Directory]. It has no goroutine: the fleet is asked when the reader wants the next change.
func (f *Fleet) Watch(ctx context.Context) iter.Seq2[registry.Change, error] {
	return func(yield func(registry.Change, error) bool) {
		seen := uint64(0)
		for first := true; ; first = false {
			changes, version, news := f.since(seen, first)
			seen = version
			for _, c := range changes {
				if ctx.Err() != nil || !yield(c, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-news:
			}
		}
	}
}

// since returns the servers that have changed after a version in the order of their last change, and a channel that is closed
// at the next one.
func (f *Fleet) since(version uint64, first bool) (changes []registry.Change, last uint64, news <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.changed.Back(); e != nil; e = e.Prev() {
		s := e.Value.(*server)
		if s.version <= version {
			break
		}
		if !first || !s.gone {
			changes = append(changes, registry.Change{Server: cloneServer(s.Server), Gone: s.gone})
		}
	}
	slices.Reverse(changes)
	return changes, f.version, f.news
}

// Select implements [registry.Directory].
func (f *Fleet) Select(ctx context.Context, q registry.Query) (registry.Selection, error) {
	if err := ctx.Err(); err != nil {
		return registry.Selection{}, err
	}
	if err := q.Validate(); err != nil {
		return registry.Selection{}, err
	}
	if q.SessionKey == "" {
		q.SessionKey = uuid.NewString()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	selection := f.selectLocked(q)
	selection.Server = cloneServer(selection.Server)
	return selection, selection.Err()
}

func (f *Fleet) selectLocked(q registry.Query) registry.Selection {
	servers := make([]registry.Server, 0, len(f.servers))
	for _, s := range f.servers {
		if !s.gone {
			servers = append(servers, s.Server)
		}
	}
	return registry.Select(servers, q, f.now())
}
