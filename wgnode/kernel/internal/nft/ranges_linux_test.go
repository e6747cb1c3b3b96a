package nft

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRangesHoldWhatThePrefixesHold looks an address up as the kernel's tree does: the nearest element at or below decides.
func TestRangesHoldWhatThePrefixesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var prefixes []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{0xff, 0, 0, rapid.Byte().Draw(t, "last")}), rapid.IntRange(24, 32).Draw(t, "bits")).Masked()
			if !slices.ContainsFunc(prefixes, p.Overlaps) {
				prefixes = append(prefixes, p)
			}
		}
		if rapid.Bool().Draw(t, "end") {
			prefixes = append(prefixes, netip.MustParsePrefix("255.255.0.0/16"))
		}
		slices.SortFunc(prefixes, netip.Prefix.Compare)
		elements := Ranges(prefixes)
		keys := slices.SortedFunc(maps.Keys(elements), compareKeys)
		for last := range 256 {
			addr := netip.AddrFrom4([4]byte{0xff, 0, 0, byte(last)})
			inside := false
			for _, k := range keys {
				if k.Data <= string(addr.AsSlice()) {
					inside = !k.End
				}
			}
			want := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
			require.Equal(t, want, inside, "%s in %v", addr, prefixes)
		}
	})
}

// FuzzParse: whatever bytes come from the socket, they are read or passed over.
func FuzzParse(f *testing.F) {
	table := Table{Inet, "waylume_wg0"}
	b := &Batch{}
	b.AddChain(table, Chain{Name: "c", Hook: &Hook{Kind: "filter", Device: "eth0"}})
	b.AddRule(table, "c", Rule{Comment: "why", Exprs: []Expr{Counting{Counter: "n"}}})
	b.AddSet(table, Set{Name: "s", Key: KeyIPv6, Value: QuotaValue})
	b.AddElements(table, Set{Name: "s", Value: ClassValue}, map[Key]Value{{Data: "\x0a\x00\x00\x01"}: {Class: 1}})
	b.SetObject(table, "q", Object{Quota: true, Bytes: 5, Used: 3, Over: true})
	for _, m := range b.messages {
		f.Add(m.Data[4:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, hook := parseChain(data)
		_, _, rule := parseRule(data)
		set := parseSet(data)
		key, value := parseElement(data)
		_, _, o := ParseObject(data)
		_, _, _, _, _, _ = hook, known(rule.Comment), set, key, value, o
		require.LessOrEqual(t, len(rule.Exprs), len(data))
		require.LessOrEqual(t, len(key.Data), len(data))
	})
}

// TestWhatIsWrittenIsRead holds the two halves of the package to each other.
func TestWhatIsWrittenIsRead(t *testing.T) {
	table := Table{Inet, "waylume_wg0"}
	b := &Batch{}
	o := Object{Quota: true, Bytes: 1 << 40, Used: 3, Over: true}
	b.SetObject(table, "q", o)
	name, object, got := ParseObject(b.messages[0].Data[4:])
	require.Equal(t, "waylume_wg0", name)
	require.Equal(t, "q", object)
	require.Equal(t, o, got)
	require.True(t, o.same(got))

	hook := &Hook{Kind: "filter", Number: 2, Priority: -300, Device: "wg0", Drop: true}
	b = &Batch{}
	b.AddChain(table, Chain{Name: "c", Hook: hook})
	_, chain, gotHook := parseChain(b.messages[0].Data[4:])
	require.Equal(t, "c", chain)
	require.Equal(t, hook, gotHook)

	// A bulk of elements is cut into messages that the attributes' 16 bits can hold, and none is lost.
	elements := make(map[Key]Value)
	for i := range 5000 {
		elements[Key{Data: string([]byte{10, 0, byte(i >> 8), byte(i)})}] = Value{Object: "a name of some length for a counter"}
	}
	b = &Batch{}
	b.AddElements(table, Set{Name: "s", Value: CounterValue}, elements)
	require.Greater(t, b.Len(), 4)
	read := make(map[Key]Value)
	for _, m := range b.messages {
		require.Less(t, len(m.Data), 1<<16)
		walk(m.Data[4:], func(kind uint16, data []byte) {
			if kind == 3 { // NFTA_SET_ELEM_LIST_ELEMENTS
				walk(data, func(_ uint16, data []byte) {
					key, value := parseElement(data)
					read[key] = value
				})
			}
		})
	}
	require.Equal(t, elements, read)
}
