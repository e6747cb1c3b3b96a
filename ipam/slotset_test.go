package ipam

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestSlotSetModel holds a slotSet to a map, with ranges that fill and empty pages.
func TestSlotSetModel(t *testing.T) {
	// One page and a bit; more than 64 pages, so that there is a second level; and 64 * 64 + 1 pages for a third.
	bounds := rapid.SampledFrom([]uint64{1, 64, 100, pageSlots, pageSlots + 1, 5 * pageSlots, 70 * pageSlots, 4097 * pageSlots})
	rapid.Check(t, func(t *rapid.T) {
		bound := bounds.Draw(t, "bound")
		s, model := newSlotSet(bound), make(map[uint64]bool)
		// Near a few places only, or a model would never see a page fill.
		near := rapid.Custom(func(t *rapid.T) uint64 {
			at := rapid.SampledFrom([]uint64{0, bound / 3 &^ 63, bound / 2 &^ (pageSlots - 1), bound - min(bound, 70)}).Draw(t, "at")
			return min(at+rapid.Uint64Max(200).Draw(t, "offset"), bound-1)
		})
		spans := rapid.Custom(func(t *rapid.T) span {
			first := near.Draw(t, "first")
			length := rapid.OneOf(rapid.Uint64Max(130), rapid.Uint64Range(pageSlots-70, 2*pageSlots+70)).Draw(t, "length")
			return span{first, min(first+length, bound-1)}
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				i := near.Draw(t, "i")
				require.Equal(t, !model[i], s.add(i))
				model[i] = true
			},
			"remove": func(t *rapid.T) {
				i := near.Draw(t, "i")
				require.Equal(t, model[i], s.remove(i))
				delete(model, i)
			},
			"addRange": func(t *rapid.T) {
				r, before := spans.Draw(t, "span"), len(model)
				for i := r.first; i <= r.last; i++ {
					model[i] = true
				}
				require.EqualValues(t, len(model)-before, s.addRange(r.first, r.last))
			},
			"removeRange": func(t *rapid.T) {
				r, before := spans.Draw(t, "span"), len(model)
				for i := r.first; i <= r.last; i++ {
					delete(model, i)
				}
				require.EqualValues(t, before-len(model), s.removeRange(r.first, r.last))
			},
			"next": func(t *rapid.T) {
				from := near.Draw(t, "from")
				want, ok := uint64(0), false
				for i := range model {
					if i >= from && (!ok || i < want) {
						want, ok = i, true
					}
				}
				got, found := s.next(from)
				require.Equal(t, ok, found)
				require.Equal(t, want, got)
			},
			"code": func(t *rapid.T) {
				d := decoder{b: appendSet(nil, s.stored())}
				decoded := newSlotSet(bound)
				d.set(uint64(len(s.pages))*pageSlots, func(r span) { decoded.addRange(r.first, min(r.last, bound-1)) })
				require.NoError(t, d.err)
				require.Empty(t, d.b)
				require.Equal(t, s.n, decoded.n)
				for i, ok := s.next(0); ok; i, ok = s.next(i + 1) {
					require.True(t, decoded.has(i))
				}
			},
			"": func(t *rapid.T) {
				require.NoError(t, s.check())
				require.EqualValues(t, len(model), s.n)
				i := near.Draw(t, "i")
				require.Equal(t, model[i], s.has(i))
			},
		})
	})
}

// TestSlotSetLarge goes to the largest bound, where there are four levels.
func TestSlotSetLarge(t *testing.T) {
	s := newSlotSet(maxSlots)
	require.Len(t, s.some, 4)
	slots := []uint64{0, 63, 64, pageSlots, 1 << 24, 1<<30 + 77, maxSlots - 1}
	for _, i := range slots {
		require.True(t, s.add(i))
	}
	var got []uint64
	for i, ok := s.next(0); ok; i, ok = s.next(i + 1) {
		got = append(got, i)
	}
	require.Equal(t, slots, got)
	require.NoError(t, s.check())
	require.Equal(t, uint64(maxSlots)-7, s.addRange(0, maxSlots-1))
	_, ok := s.next(maxSlots)
	require.False(t, ok)
	require.Equal(t, uint64(maxSlots), s.removeRange(0, maxSlots-1))
	_, ok = s.next(0)
	require.False(t, ok)
}

// TestPagesOf: what a batch of slots in any order is coded as is the same as that of the set.
func TestPagesOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := rapid.MapOf(rapid.Uint32Max(6*pageSlots-1), rapid.Just(true)).Draw(t, "slots")
		s := newSlotSet(6 * pageSlots)
		for i := range model {
			s.add(uint64(i))
		}
		slots := slices.Collect(maps.Keys(model))
		require.Equal(t, appendSet(nil, s.stored()), appendSet(nil, pagesOf(slots)))
	})
}

func TestFIFOModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q fifo[int]
		var model []int
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 3, fifoChunk - 1, fifoChunk, 2*fifoChunk + 1}).Draw(t, "n") {
					q.push(next)
					model = append(model, next)
					next++
				}
			},
			"pop": func(t *rapid.T) {
				for range min(len(model), rapid.SampledFrom([]int{1, 2, fifoChunk, 3 * fifoChunk}).Draw(t, "n")) {
					if q.peek() != model[0] || q.pop() != model[0] {
						t.Fatalf("not %d", model[0])
					}
					model = model[1:]
				}
			},
			"": func(t *rapid.T) {
				require.EqualValues(t, len(model), q.n)
				require.True(t, slices.Equal(model, slices.Collect(q.all())))
			},
		})
	})
}
