package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode"
)

// opened opens a store for the length of a test.
func opened(t *testing.T, open Open) wgnode.Store {
	t.Helper()
	store, err := open()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func requireContents(t *testing.T, store wgnode.Store, want map[ID]string) {
	t.Helper()
	got, err := Contents(t.Context(), store)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func testEmpty(t *testing.T, open Open) {
	store := opened(t, open)
	requireContents(t, store, map[ID]string{})
	require.NoError(t, store.Commit(t.Context(), nil))
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{Remove(wgnode.RecordPeer, "absent")}))
	requireContents(t, store, map[ID]string{})
}

// testCopies has a store keep no reference to what it is given, and give none to what it keeps.
func testCopies(t *testing.T, open Open) {
	store := opened(t, open)
	m := Put(wgnode.RecordPeer, "p", "before")
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{m}))
	copy(m.Value, "BROKEN")
	requireContents(t, store, map[ID]string{{wgnode.RecordPeer, "p"}: "before"})
	for r, err := range store.Load(t.Context()) {
		require.NoError(t, err)
		copy(r.Value, "BROKEN")
	}
	requireContents(t, store, map[ID]string{{wgnode.RecordPeer, "p"}: "before"})
}

func testContext(t *testing.T, open Open) {
	store := opened(t, open)
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{Put(wgnode.RecordPeer, "p", "1")}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, store.Commit(ctx, []wgnode.Mutation{Put(wgnode.RecordPeer, "q", "2")}), context.Canceled)
	_, err := Contents(ctx, store)
	require.ErrorIs(t, err, context.Canceled)
	requireContents(t, store, map[ID]string{{wgnode.RecordPeer, "p"}: "1"})
}

// testLeaveEarly has a loop over a store end before the store does, and a commit after it.
func testLeaveEarly(t *testing.T, open Open) {
	store := opened(t, open)
	var batch []wgnode.Mutation
	for i := range 10 {
		batch = append(batch, Put(wgnode.RecordPeer, fmt.Sprint(i), "x"))
	}
	require.NoError(t, store.Commit(t.Context(), batch))
	for _, err := range store.Load(t.Context()) {
		require.NoError(t, err)
		break
	}
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{Put(wgnode.RecordPeer, "more", "x")}))
}

// testMany has more records than a store would read at once, of lengths across several pages of a disk.
func testMany(t *testing.T, open Open) {
	store := opened(t, open)
	want := make(map[ID]string)
	var batch []wgnode.Mutation
	for i := range 2048 {
		kind := []wgnode.RecordKind{wgnode.RecordAccount, wgnode.RecordPeer}[i%2]
		key, value := fmt.Sprintf("%06d", i), strings.Repeat("v", i%300)
		if i%500 == 0 {
			value = strings.Repeat("long", 5000)
		}
		batch = append(batch, Put(kind, key, value))
		want[ID{kind, key}] = value
	}
	require.NoError(t, store.Commit(t.Context(), batch))
	requireContents(t, store, want)
}

// testLater has several mutations of one record in a batch.
func testLater(t *testing.T, open Open) {
	store := opened(t, open)
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{
		Put(wgnode.RecordPeer, "a", "1"), Remove(wgnode.RecordPeer, "a"), Put(wgnode.RecordPeer, "a", "2"),
		Put(wgnode.RecordPeer, "b", "1"), Remove(wgnode.RecordPeer, "b"),
	}))
	requireContents(t, store, map[ID]string{{wgnode.RecordPeer, "a"}: "2"})
}

func testConcurrent(t *testing.T, open Open) {
	store := opened(t, open)
	want := make(map[ID]string)
	var g errgroup.Group
	for i := range 16 {
		for j := range 4 {
			want[ID{wgnode.RecordPeer, fmt.Sprint(i, j)}] = fmt.Sprint(j)
		}
		g.Go(func() error {
			for j := range 4 {
				if err := store.Commit(t.Context(), []wgnode.Mutation{Put(wgnode.RecordPeer, fmt.Sprint(i, j), fmt.Sprint(j))}); err != nil {
					return err
				}
				if _, err := Contents(t.Context(), store); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	requireContents(t, store, want)
}

func testClose(t *testing.T, open Open) {
	store, err := open()
	require.NoError(t, err)
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{Put(wgnode.RecordNode, "n", "1")}))
	require.NoError(t, store.Close())
	require.NoError(t, store.Close())
	requireContents(t, opened(t, open), map[ID]string{{wgnode.RecordNode, "n"}: "1"})
}

// testMap compares stores with a map under batches of puts and deletes, over many openings.
func testMap(t *testing.T, newStore func(t *testing.T) Open) {
	rapid.Check(t, func(rt *rapid.T) {
		open := newStore(t)
		store, err := open()
		require.NoError(rt, err)
		defer func() { require.NoError(rt, store.Close()) }()
		model := make(map[ID]string)

		kinds := rapid.SampledFrom([]wgnode.RecordKind{wgnode.RecordPeer, wgnode.RecordAccount, wgnode.RecordPeerUsage})
		keys := rapid.StringMatching(`[a-e]{1,2}`)
		commit := func() {
			var batch []wgnode.Mutation
			for range rapid.IntRange(0, 5).Draw(rt, "size") {
				kind, key := kinds.Draw(rt, "kind"), keys.Draw(rt, "key")
				if rapid.Bool().Draw(rt, "delete") {
					batch = append(batch, Remove(kind, key))
					delete(model, ID{kind, key})
					continue
				}
				value := rapid.String().Draw(rt, "value")
				batch = append(batch, Put(kind, key, value))
				model[ID{kind, key}] = value
			}
			require.NoError(rt, store.Commit(rt.Context(), batch))
		}
		// Each commit waits for the disk: a few, and not the usual number of steps.
		for range rapid.IntRange(1, 5).Draw(rt, "commits") {
			commit()
			if rapid.IntRange(0, 3).Draw(rt, "reopen") == 0 {
				require.NoError(rt, store.Close())
				store, err = open()
				require.NoError(rt, err)
			}
			all, err := Contents(rt.Context(), store)
			require.NoError(rt, err)
			if !maps.Equal(model, all) {
				rt.Fatalf("store has %v, want %v", slices.Collect(maps.Keys(all)), slices.Collect(maps.Keys(model)))
			}
		}
	})
}
