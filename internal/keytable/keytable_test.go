package keytable

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/internal/testutil/heap"
)

type value struct {
	key    wgtypes.Key
	number int
}

func (v *value) Key() wgtypes.Key { return v.key }

// The table against a map, also where all keys have one hash or one of few.
func TestMapAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map[*value]
		m.few = rapid.SampledFrom([]uint64{0, 1, 3}).Draw(t, "hashes")
		model := make(map[wgtypes.Key]*value)
		number := 0
		draw := func(t *rapid.T) wgtypes.Key { return wgtypes.Key{byte(rapid.IntRange(0, 9).Draw(t, "key"))} }
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				number++
				v := &value{draw(t), number}
				m.Set(v)
				model[v.key] = v
			},
			"delete": func(t *rapid.T) {
				key := draw(t)
				m.Delete(key)
				delete(model, key)
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), m.Len())
				seen := make(map[wgtypes.Key]*value)
				for v := range m.All() {
					require.NotContains(t, seen, v.key)
					seen[v.key] = v
				}
				require.Equal(t, model, seen)
				for b := range byte(10) {
					want, there := model[wgtypes.Key{b}]
					got, ok := m.Get(wgtypes.Key{b})
					require.Equal(t, there, ok)
					require.Same(t, want, got)
				}
			},
		})
	})
}

// Iterations can be broken off, in either part.
func TestAllIsBrokenOff(t *testing.T) {
	var m Map[*value]
	m.few = 1
	for b := range byte(3) {
		m.Set(&value{key: wgtypes.Key{b}})
	}
	for most := 1; most <= 3; most++ {
		seen := 0
		for range m.All() {
			if seen++; seen == most {
				break
			}
		}
		require.Equal(t, most, seen)
	}
}

// It is there to take less memory than a map.
func TestMemory(t *testing.T) {
	const count, bound = 100_000, 32 // bytes each
	values := make([]value, count)
	for i := range values {
		values[i].key = wgtypes.Key{byte(i), byte(i >> 8), byte(i >> 16)}
	}
	got := heap.PerItem(count, func() any {
		var m Map[*value]
		for i := range values {
			m.Set(&values[i])
		}
		return &m
	})
	require.Less(t, got, heap.Room*bound)
}

func BenchmarkGet(b *testing.B) {
	const count = 100_000
	var m Map[*value]
	keys := make([]wgtypes.Key, count)
	for i := range keys {
		keys[i] = wgtypes.Key{byte(i), byte(i >> 8), byte(i >> 16)}
		m.Set(&value{key: keys[i]})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := m.Get(keys[i%count]); !ok {
			b.Fatal("it is gone")
		}
	}
}
