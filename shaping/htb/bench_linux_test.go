package htb

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/shaping"
)

// BenchmarkClaim is a leaf from the pool, changed once and released, beside so many others.
func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{0, 1000, 10_000} {
		w := newWorld(b)
		ctx := b.Context()
		config := w.config()
		config.still = true
		tree := w.open(b, config)
		require.NoError(b, tree.Root(ctx, shaping.Limit{Download: 10e9}))
		require.NoError(b, tree.Grow(ctx, n+1))
		limit := func(i int) shaping.Limit {
			return shaping.Limit{Download: shaping.Rate(10e6 + 1000*(i%1000)), Upload: 5e6}
		}
		i := 0
		b.Run(fmt.Sprintf("claim+release/classes=%d", n), func(b *testing.B) {
			for b.Loop() {
				i++
				c, err := tree.Claim(ctx, 0, limit(i))
				require.NoError(b, err)
				require.NoError(b, tree.Release(c))
			}
		})
		c, err := tree.Claim(ctx, 0, limit(0))
		require.NoError(b, err)
		b.Run(fmt.Sprintf("change/classes=%d", n), func(b *testing.B) {
			for b.Loop() {
				i++
				require.NoError(b, tree.Change(ctx, c, limit(i)))
			}
		})
		b.Run(fmt.Sprintf("grow/classes=%d", n), func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, tree.Grow(ctx, tree.Stats().Ready+1))
			}
		})
		b.Run(fmt.Sprintf("sync/classes=%d", n), func(b *testing.B) {
			for b.Loop() {
				_, err := tree.Sync(ctx)
				require.NoError(b, err)
			}
		})
		require.NoError(b, tree.Close())
	}
}
