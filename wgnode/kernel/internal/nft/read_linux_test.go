package nft

import (
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// TestManyAreReadBack writes more objects and elements than one message of a dump holds, and reads back just those.
func TestManyAreReadBack(t *testing.T) {
	netns.Require(t)
	conn, err := Dial()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	table := Table{Inet, "waylume_read"}
	const n = 5000
	want := NewContent()
	want.Sets = []Set{{Name: "quotas4", Value: QuotaValue}}
	for i := range n {
		counter, quota := fmt.Sprintf("p%d_down", i), fmt.Sprintf("p%d_limit", i)
		want.Objects[counter] = Object{Bytes: uint64(i)}
		want.Objects[quota] = Object{Quota: true, Bytes: uint64(i + 1), Used: uint64(i / 2), Over: true}
		want.Add("quotas4", Key{Data: string([]byte{10, 0, byte(i >> 8), byte(i)})}, Value{Object: quota})
	}
	b := &Batch{}
	_, err = Diff(b, table, want, nil)
	require.NoError(t, err)
	require.NoError(t, conn.Commit(b))

	all, err := conn.Objects(table)
	require.NoError(t, err)
	require.True(t, maps.Equal(want.Objects, all))

	have, err := conn.Read(table)
	require.NoError(t, err)
	require.True(t, maps.Equal(want.Elements["quotas4"], have.Elements["quotas4"]))
	b = &Batch{}
	notes, err := Diff(b, table, want, have)
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Empty(t, b.messages)
}
