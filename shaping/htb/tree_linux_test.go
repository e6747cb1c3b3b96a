package htb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/shaping"
)

func TestLife(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	tree := w.open(t, w.config())
	_, err := tree.Claim(ctx, 0, shaping.Limit{})
	require.ErrorIs(t, err, ErrNoRoot)
	require.NoError(t, tree.Root(ctx, shaping.Limit{Download: 1e9}))
	limit := shaping.Limit{Download: 20e6, Upload: 5e6}
	c, err := tree.Claim(ctx, 0, limit)
	require.NoError(t, err)
	require.Equal(t, Class(2), c)
	g, err := tree.ClaimGroup(ctx, shaping.Limit{Upload: 100e9}, 1)
	require.NoError(t, err)
	inner, err := tree.Claim(ctx, g, shaping.Limit{Download: shaping.MinRate, Upload: shaping.MaxRate})
	require.NoError(t, err)
	words, err := tree.Sync(ctx)
	require.NoError(t, err)
	require.Empty(t, words)
	require.Zero(t, w.writes(func() {
		require.NoError(t, tree.Change(ctx, c, limit))
		words, err := tree.Sync(ctx)
		require.NoError(t, err)
		require.Empty(t, words)
	}))
	require.ErrorIs(t, tree.Release(g), ErrInUse)
	require.NoError(t, tree.Release(inner))
	require.NoError(t, tree.Release(g))
	require.ErrorIs(t, tree.Release(g), ErrNoClass)
	again, err := tree.ClaimGroup(ctx, limit, 5)
	require.NoError(t, err)
	require.Equal(t, g, again)
	again, err = tree.Claim(ctx, g, limit)
	require.NoError(t, err)
	require.Equal(t, inner, again)
}
