package wggo

import (
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"
)

// somePrefixes are few, so that peers take them from each other.
var somePrefixes = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32"), netip.MustParsePrefix("10.0.0.3/32"),
	netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.0.2/31"), netip.MustParsePrefix("0.0.0.0/0"),
	netip.MustParsePrefix("fd00::1/128"), netip.MustParsePrefix("fd00::2/128"), netip.MustParsePrefix("fd00::/64"),
}

// The registry against a list of who was told what: a prefix is that of who was told it last, an address that of the longest prefix.
func TestRegistry(t *testing.T) {
	type told struct {
		Peer
		active bool
	}
	rapid.Check(t, func(t *rapid.T) {
		var r registry
		l := &lane{id: 1, present: make(map[*entry]*presence)}
		r.open(l)
		model := make(map[wgtypes.Key]*told)
		key := func(t *rapid.T) wgtypes.Key { return wgtypes.Key{byte(rapid.IntRange(1, 5).Draw(t, "peer"))} }
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				p := Peer{PublicKey: key(t), Keepalive: time.Duration(rapid.IntRange(0, 3).Draw(t, "keepalive")) * time.Second}
				p.PresharedKey[0] = byte(rapid.IntRange(0, 1).Draw(t, "psk"))
				p.AllowedIPs = rapid.SliceOfNDistinct(rapid.SampledFrom(somePrefixes), 0, 4, rapid.ID[netip.Prefix]).Draw(t, "prefixes")
				var want, may []wgtypes.Key
				for other, had := range model {
					if other == p.PublicKey {
						continue
					}
					kept := slices.DeleteFunc(slices.Clone(had.AllowedIPs), func(x netip.Prefix) bool { return slices.Contains(p.AllowedIPs, x) })
					if len(kept) != len(had.AllowedIPs) && had.active {
						want = append(want, other)
					}
					had.AllowedIPs = kept
				}
				m := &told{Peer: p}
				if old := model[p.PublicKey]; old != nil && old.active {
					m.active = true
					if e := r.get(p.PublicKey); !differs(e.told(), p) {
						may = append(may, p.PublicKey) // in another order
					} else {
						want = append(want, p.PublicKey)
					}
				}
				model[p.PublicKey] = m
				tell := r.set([]Peer{p})
				got := make(map[wgtypes.Key]bool)
				for _, e := range tell {
					got[e.key] = true
				}
				for _, k := range want {
					require.True(t, got[k])
				}
				for k := range got {
					require.Contains(t, append(want, may...), k)
				}
				require.True(t, !got[p.PublicKey] || tell[len(tell)-1].key == p.PublicKey)
			},
			"remove": func(t *rapid.T) {
				k := key(t)
				if e := r.get(k); e != nil {
					require.Equal(t, model[k].active, len(r.drop(e)) == 1)
					require.Empty(t, r.drop(e))
				}
				delete(model, k)
			},
			"enter": func(t *rapid.T) {
				k := key(t)
				if e := r.get(k); e != nil && !model[k].active {
					e.now = &activity{at: []*presence{{lane: l}}, keeper: l}
					e.now.by.Store(l)
					l.present[e] = e.now.at[0]
					r.active++
					model[k].active = true
				}
			},
			"leave": func(t *rapid.T) {
				k := key(t)
				if e := r.get(k); e != nil && model[k].active {
					r.leaveLocked(e, e.in(l))
					model[k].active = false
				}
			},
			"": func(t *rapid.T) {
				active := 0
				require.Equal(t, len(model), r.peers.Len())
				for k, m := range model {
					e := r.get(k)
					got := e.told()
					require.ElementsMatch(t, m.AllowedIPs, got.AllowedIPs)
					got.AllowedIPs = m.AllowedIPs
					require.Equal(t, m.Peer, got)
					require.Equal(t, m.active, e.in(l) != nil)
					if m.active {
						active++
					}
				}
				require.Equal(t, active, r.active)
				require.Len(t, l.present, active)
				for _, host := range somePrefixes {
					var want wgtypes.Key
					longest := -1
					for k, m := range model {
						for _, x := range m.AllowedIPs {
							if x.Contains(host.Addr()) && x.Bits() > longest {
								want, longest = k, x.Bits()
							}
						}
					}
					e := r.lookup(host.Addr())
					require.Equal(t, longest < 0, e == nil)
					require.True(t, e == nil || e.key == want)
				}
			},
		})
	})
}

// differs reports whether a device has to be told of a change.
func differs(a, b Peer) bool {
	less := func(x, y netip.Prefix) int { return x.Compare(y) }
	a.AllowedIPs, b.AllowedIPs = slices.SortedFunc(slices.Values(a.AllowedIPs), less), slices.SortedFunc(slices.Values(b.AllowedIPs), less)
	return !a.same(b)
}

// An entry is of the allocator's class of 96 bytes: one more byte makes it 112.
func TestEntrySize(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(entry{}), uintptr(96))
}

func TestBadInput(t *testing.T) {
	n := newNode(t, newKey(t), none)
	good := manyPeers(1)[0]
	for _, bad := range []Peer{
		{Keepalive: -time.Second}, {Keepalive: 65536 * time.Second}, {AllowedIPs: []netip.Prefix{{}}},
	} {
		require.Error(t, n.Set(t.Context(), nil, []Peer{good, bad}))
		require.Error(t, n.SetKeys(t.Context(), newKey(t), none, []Peer{good, bad}))
	}
	s, err := n.Status()
	require.NoError(t, err)
	require.Empty(t, s.Peers)
	for _, cfg := range []Config{{Idle: -1}, {MaxActive: -1}, {MaxActive: mostActive + 1}} {
		cfg.PrivateKey = newKey(t)
		_, err := New(newPipe(func([]byte) {}), cfg)
		require.Error(t, err)
	}
}
