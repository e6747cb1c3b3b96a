package boltstore_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
)

// harness opens one store again and again, with what it kept.
type harness struct {
	open func() (wgnode.Store, error)
}

// stores are those that must behave alike.
func stores() map[string]func(t *testing.T) harness {
	return map[string]func(*testing.T) harness{
		"memory": func(*testing.T) harness {
			store := wgnode.NewMemoryStore()
			return harness{func() (wgnode.Store, error) { return store, nil }}
		},
		"bolt": func(t *testing.T) harness {
			path := filepath.Join(t.TempDir(), "state.db")
			return harness{func() (wgnode.Store, error) { return boltstore.Open(path, boltstore.Options{}) }}
		},
	}
}

func forEachStore(t *testing.T, test func(t *testing.T, h harness)) {
	for name, makeHarness := range stores() {
		t.Run(name, func(t *testing.T) { test(t, makeHarness(t)) })
	}
}

type id struct {
	kind wgnode.RecordKind
	key  string
}

// contents reads a whole store, and fails on a record that it yields twice.
func contents(store wgnode.Store) (map[id]string, error) {
	all := make(map[id]string)
	for r, err := range store.Load(context.Background()) {
		if err != nil {
			return nil, err
		}
		if _, twice := all[id{r.Kind, r.Key}]; twice {
			return nil, fmt.Errorf("%s %q came twice", r.Kind, r.Key)
		}
		all[id{r.Kind, r.Key}] = string(r.Value)
	}
	return all, nil
}

func put(kind wgnode.RecordKind, key, value string) wgnode.Mutation {
	return wgnode.Mutation{Record: wgnode.Record{Kind: kind, Key: key, Value: []byte(value)}}
}

func remove(kind wgnode.RecordKind, key string) wgnode.Mutation {
	return wgnode.Mutation{Record: wgnode.Record{Kind: kind, Key: key}, Delete: true}
}

func TestStoreStartsEmpty(t *testing.T) {
	forEachStore(t, func(t *testing.T, h harness) {
		store, err := h.open()
		require.NoError(t, err)
		defer store.Close()
		all, err := contents(store)
		require.NoError(t, err)
		require.Empty(t, all)
		require.NoError(t, store.Commit(t.Context(), nil))
		require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{remove(wgnode.RecordPeer, "absent")}))
	})
}

func TestStoreKeepsNoReferenceToTheBatch(t *testing.T) {
	forEachStore(t, func(t *testing.T, h harness) {
		store, err := h.open()
		require.NoError(t, err)
		defer store.Close()
		m := put(wgnode.RecordPeer, "p", "before")
		require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{m}))
		copy(m.Value, "BROKEN")
		all, err := contents(store)
		require.NoError(t, err)
		require.Equal(t, map[id]string{{wgnode.RecordPeer, "p"}: "before"}, all)

		for r, err := range store.Load(t.Context()) {
			require.NoError(t, err)
			copy(r.Value, "BROKEN")
		}
		all, err = contents(store)
		require.NoError(t, err)
		require.Equal(t, map[id]string{{wgnode.RecordPeer, "p"}: "before"}, all)
	})
}

func TestStoreHeedsTheContext(t *testing.T) {
	forEachStore(t, func(t *testing.T, h harness) {
		store, err := h.open()
		require.NoError(t, err)
		defer store.Close()
		require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{put(wgnode.RecordPeer, "p", "1")}))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, store.Commit(ctx, []wgnode.Mutation{put(wgnode.RecordPeer, "q", "2")}), context.Canceled)
		for _, err := range store.Load(ctx) {
			require.ErrorIs(t, err, context.Canceled)
		}
		all, err := contents(store)
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}

func TestStoreLoadMayBeLeftEarly(t *testing.T) {
	forEachStore(t, func(t *testing.T, h harness) {
		store, err := h.open()
		require.NoError(t, err)
		defer store.Close()
		var batch []wgnode.Mutation
		for i := range 10 {
			batch = append(batch, put(wgnode.RecordPeer, fmt.Sprint(i), "x"))
		}
		require.NoError(t, store.Commit(t.Context(), batch))
		for _, err := range store.Load(t.Context()) {
			require.NoError(t, err)
			break
		}
		require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{put(wgnode.RecordPeer, "more", "x")}))
	})
}

func TestStoreLoadsMoreThanOnePage(t *testing.T) {
	forEachStore(t, func(t *testing.T, h harness) {
		store, err := h.open()
		require.NoError(t, err)
		defer store.Close()
		want := make(map[id]string)
		var batch []wgnode.Mutation
		for i := range 2048 { // four pages exactly
			kind := []wgnode.RecordKind{wgnode.RecordAccount, wgnode.RecordPeer}[i%2]
			key, value := fmt.Sprintf("%06d", i), strings.Repeat("v", i%300)
			batch = append(batch, put(kind, key, value))
			want[id{kind, key}] = value
		}
		require.NoError(t, store.Commit(t.Context(), batch))
		all, err := contents(store)
		require.NoError(t, err)
		require.Equal(t, want, all)
	})
}

// TestStoreIsAMap compares stores with a map under batches of puts and deletes, over many openings.
func TestStoreIsAMap(t *testing.T) {
	forEachStore(t, func(t *testing.T, _ harness) {
		makeHarness := stores()[t.Name()[strings.LastIndex(t.Name(), "/")+1:]]
		rapid.Check(t, func(rt *rapid.T) {
			h := makeHarness(t)
			store, err := h.open()
			require.NoError(rt, err)
			defer func() { require.NoError(rt, store.Close()) }()
			model := make(map[id]string)

			kinds := rapid.SampledFrom([]wgnode.RecordKind{wgnode.RecordPeer, wgnode.RecordAccount, wgnode.RecordPeerUsage})
			keys := rapid.StringMatching(`[a-e]{1,2}`)
			commit := func() {
				var batch []wgnode.Mutation
				for range rapid.IntRange(0, 5).Draw(rt, "size") {
					kind, key := kinds.Draw(rt, "kind"), keys.Draw(rt, "key")
					if rapid.Bool().Draw(rt, "delete") {
						batch = append(batch, remove(kind, key))
						delete(model, id{kind, key})
						continue
					}
					value := rapid.String().Draw(rt, "value")
					batch = append(batch, put(kind, key, value))
					model[id{kind, key}] = value
				}
				require.NoError(rt, store.Commit(rt.Context(), batch))
			}
			// Each commit waits for the disk: a few, and not the usual number of steps.
			for range rapid.IntRange(1, 5).Draw(rt, "commits") {
				commit()
				if rapid.IntRange(0, 3).Draw(rt, "reopen") == 0 {
					require.NoError(rt, store.Close())
					store, err = h.open()
					require.NoError(rt, err)
				}
				all, err := contents(store)
				require.NoError(rt, err)
				if !maps.Equal(model, all) {
					rt.Fatalf("store has %v, want %v", slices.Collect(maps.Keys(all)), slices.Collect(maps.Keys(model)))
				}
			}
		})
	})
}
