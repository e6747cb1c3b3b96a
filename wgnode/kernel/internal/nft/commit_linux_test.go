package nft_test

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// TestUnchanged has two connections change tables: each knows its own changes from the other's.
func TestUnchanged(t *testing.T) {
	netns.Require(t)
	own, other := dial(t), dial(t)
	table := nft.Table{Family: nft.Inet, Name: "generations"}
	batch := func(fill func(*nft.Batch)) *nft.Batch {
		b := &nft.Batch{}
		fill(b)
		return b
	}
	set := func(name string) *nft.Batch {
		return batch(func(b *nft.Batch) { b.SetObject(table, name, nft.Object{}) })
	}
	unchanged := func() bool {
		t.Helper()
		ok, err := own.Unchanged()
		require.NoError(t, err)
		return ok
	}
	trust := func() {
		t.Helper()
		generation, err := own.Generation()
		require.NoError(t, err)
		require.NotZero(t, generation)
		own.Trust(generation)
		require.True(t, unchanged())
	}
	require.NoError(t, own.Commit(batch(func(b *nft.Batch) { b.AddTable(table) })))
	defer func() { require.NoError(t, own.Commit(batch(func(b *nft.Batch) { b.DeleteTable(table) }))) }()
	require.False(t, unchanged(), "nobody said what there is")

	trust()
	require.NoError(t, own.Commit(set("first")))
	require.NoError(t, own.Commit(set("second")))
	require.NoError(t, own.Commit(&nft.Batch{}))
	require.True(t, unchanged(), "by its own changes")
	_, err := own.Object(table, "first", false)
	require.NoError(t, err)
	require.True(t, unchanged(), "by reading")

	require.NoError(t, other.Commit(set("third")))
	require.False(t, unchanged())
	require.NoError(t, own.Commit(set("fourth")), "what another did is no reason to fail")
	require.False(t, unchanged(), "for ever, until it was read")

	trust()
	require.NoError(t, other.Commit(set("fifth")))
	require.NoError(t, other.Commit(batch(func(b *nft.Batch) { b.DeleteObject(table, "fifth", false) })))
	require.False(t, unchanged(), "though it is as it was")

	trust()
	require.ErrorIs(t, own.Commit(batch(func(b *nft.Batch) { b.DeleteObject(table, "none", false) })), unix.ENOENT)
	require.False(t, unchanged(), "after a failure nobody knows")
	trust()
	own.Trust(0)
	require.False(t, unchanged())
}

// TestNamed reads some of many objects, more than are asked for at once.
func TestNamed(t *testing.T) {
	netns.Require(t)
	conn := dial(t)
	table := nft.Table{Family: nft.Inet, Name: "named"}
	b := &nft.Batch{}
	b.AddTable(table)
	var names []string
	want := make(map[string]nft.Object)
	for i := range 1000 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		names = append(names, name)
		if i%3 == 0 {
			continue // is not there
		}
		want[name] = nft.Object{Bytes: uint64(i), Packets: 1}
		b.SetObject(table, name, want[name])
	}
	b.SetObject(table, "quota", nft.Object{Quota: true, Bytes: 7, Used: 5, Over: true})
	require.NoError(t, conn.Commit(b))
	defer func() {
		b := &nft.Batch{}
		b.DeleteTable(table)
		require.NoError(t, conn.Commit(b))
	}()
	r := dialReader(t)
	for range 2 {
		require.Equal(t, want, named(t, r, table, false, append(names, "quota")))
	}
	quotas := map[string]nft.Object{"quota": {Quota: true, Bytes: 7, Used: 5, Over: true}}
	require.Equal(t, quotas, named(t, r, table, true, []string{"quota", names[1]}))
	require.Empty(t, named(t, r, nft.Table{Family: nft.Inet, Name: "nowhere"}, false, names))
	require.Empty(t, named(t, r, table, false, nil))

	var group sync.WaitGroup
	at := make([]map[string]nft.Object, 3)
	for i := range at {
		group.Go(func() { at[i] = named(t, r, table, false, names) })
	}
	group.Wait()
	require.Equal(t, []map[string]nft.Object{want, want, want}, at, "at once")
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.ErrorIs(t, r.Named(table, false, names, nil), os.ErrClosed)
}

// named reads objects by their names, in any goroutine.
func named(tb testing.TB, r *nft.Reader, t nft.Table, quota bool, names []string) map[string]nft.Object {
	var mu sync.Mutex
	got := make(map[string]nft.Object)
	err := r.Named(t, quota, names, func(i int, o nft.Object) {
		mu.Lock()
		defer mu.Unlock()
		got[names[i]] = o
	})
	if err != nil {
		tb.Error(err)
	}
	return got
}

func dialReader(tb testing.TB) *nft.Reader {
	tb.Helper()
	r, err := nft.DialReader()
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, r.Close()) })
	return r
}

func dial(tb testing.TB) *nft.Conn {
	tb.Helper()
	conn, err := nft.Dial()
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, conn.Close()) })
	return conn
}
