package addrtable

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTableAgainstMap(t *testing.T) {
	pool := make([]netip.Addr, 0, 64)
	for i := range 32 {
		pool = append(pool, netip.AddrFrom4([4]byte{10, 0, byte(i % 3), byte(i)}))
		pool = append(pool, netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(i % 3), 15: byte(i)}))
	}
	rapid.Check(t, func(t *rapid.T) {
		var table Table[int]
		model := make(map[netip.Addr]int)
		some := rapid.SliceOfN(rapid.SampledFrom(pool), 0, 5)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				addrs, v := some.Draw(t, "addrs"), rapid.Int().Draw(t, "value")
				table.Set(addrs, v)
				for _, addr := range addrs {
					model[addr] = v
				}
			},
			"set all": func(t *rapid.T) {
				values := rapid.MapOfN(rapid.Int(), some, 0, 5).Draw(t, "values")
				table.SetAll(func(yield func([]netip.Addr, int) bool) {
					for _, v := range slices.Sorted(maps.Keys(values)) {
						if !yield(values[v], v) {
							return
						}
					}
				})
				for _, v := range slices.Sorted(maps.Keys(values)) {
					for _, addr := range values[v] {
						model[addr] = v
					}
				}
			},
			"delete": func(t *rapid.T) {
				addrs := some.Draw(t, "addrs")
				table.Delete(addrs)
				for _, addr := range addrs {
					delete(model, addr)
				}
			},
			"clear": func(*rapid.T) {
				table.Clear()
				clear(model)
			},
			"": func(t *rapid.T) {
				for _, addr := range pool {
					want, wantOK := model[addr]
					got, ok := table.Lookup(addr)
					require.Equal(t, wantOK, ok, "%s", addr)
					require.Equal(t, want, got, "%s", addr)
				}
			},
		})
	})
}

func TestLookupAllocatesNothing(t *testing.T) {
	var table Table[*int]
	v, addr := new(int), netip.MustParseAddr("10.0.0.2")
	table.Set([]netip.Addr{addr}, v)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if got, ok := table.Lookup(addr); !ok || got != v {
			t.Fatal("not found")
		}
	}))
}

func BenchmarkLookup(b *testing.B) {
	var table Table[int]
	for i := range 10_000 {
		table.Set([]netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}, i)
	}
	addr := netip.AddrFrom4([4]byte{10, 0, 20, 30})
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(addr)
	}
}

func BenchmarkSet(b *testing.B) {
	var table Table[int]
	for i := range 10_000 {
		table.Set([]netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}, i)
	}
	addr := []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 200, 30})}
	b.ReportAllocs()
	for b.Loop() {
		table.Set(addr, 1)
		table.Delete(addr)
	}
}
