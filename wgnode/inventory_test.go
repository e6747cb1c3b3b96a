package wgnode

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"
)

// TestOrderedIsASortedList compares ordered with a list that is sorted anew each time.
func TestOrderedIsASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o ordered[*account]
		var model []uint64
		sequences := rapid.Uint64Range(1, 20)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				n := sequences.Draw(t, "sequence")
				if !slices.Contains(model, n) {
					model = append(model, n)
					o.add(&account{core: core{sequence: n}})
				}
			},
			"remove": func(t *rapid.T) {
				n := sequences.Draw(t, "sequence")
				model = slices.DeleteFunc(model, func(m uint64) bool { return m == n })
				o.remove(n)
			},
			"": func(t *rapid.T) {
				slices.Sort(model)
				after, limit := rapid.Uint64Range(0, 25).Draw(t, "after"), rapid.IntRange(0, 25).Draw(t, "limit")
				var want, got []uint64
				for _, n := range model {
					if n > after && len(want) < limit {
						want = append(want, n)
					}
				}
				for _, a := range o.after(after, limit) {
					got = append(got, a.sequence)
				}
				require.Equal(t, want, got)
				require.Equal(t, len(model), o.len())
			},
		})
	})
}

// TestDeadlinesAreAMap compares the heap with a map of times.
func TestDeadlinesAreAMap(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var d deadlines
		var entities []*peer
		for i := range 8 {
			entities = append(entities, &peer{core: core{deadline: &deadline{index: -1}}, key: wgtypes.Key{byte(i + 1)}})
		}
		model := make(map[*peer]time.Time)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				p := rapid.SampledFrom(entities).Draw(t, "entity")
				when := epoch.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "when")) * time.Second)
				d.set(p, when)
				model[p] = when
			},
			"clear": func(t *rapid.T) {
				p := rapid.SampledFrom(entities).Draw(t, "entity")
				d.set(p, time.Time{})
				delete(model, p)
			},
			"due": func(t *rapid.T) {
				now := epoch.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "now")) * time.Second)
				limit := rapid.IntRange(1, 8).Draw(t, "limit")
				var want []time.Time
				for _, when := range model {
					if !when.After(now) {
						want = append(want, when)
					}
				}
				slices.SortFunc(want, time.Time.Compare)
				want = want[:min(limit, len(want))]
				var got []time.Time
				for _, e := range d.due(now, limit) {
					got = append(got, model[e.(*peer)])
					delete(model, e.(*peer))
				}
				require.Equal(t, want, got)
			},
			"": func(t *rapid.T) {
				var want time.Time
				for _, when := range model {
					want = earlier(want, when)
				}
				require.Equal(t, want, d.earliest())
			},
		})
	})
}

func TestEarlier(t *testing.T) {
	var never time.Time
	a, b := time.Unix(1, 0), time.Unix(2, 0)
	require.Equal(t, a, earlier(a, b))
	require.Equal(t, a, earlier(b, a))
	require.Equal(t, a, earlier(a, never))
	require.Equal(t, a, earlier(never, a))
	require.Equal(t, never, earlier(never, never))
}

// TestListsAreStableUnderChange pages through peers while others come and go: whoever is there throughout is seen once.
func TestListsAreStableUnderChange(t *testing.T) {
	r := startRig(t)
	_, err := r.PutAccount(t.Context(), AccountSpec{ID: "a"})
	require.NoError(t, err)
	_, err = r.PutAccount(t.Context(), AccountSpec{ID: "b"})
	require.NoError(t, err)
	var keys []wgtypes.Key
	for i := range 200 {
		keys = append(keys, r.add(t, PeerSpec{Account: []string{"a", "b"}[i%2]}).PublicKey)
	}
	var seen []wgtypes.Key
	removed := 0
	for p := range r.Peers(ListOptions{}) {
		seen = append(seen, p.PublicKey)
		if i := slices.Index(keys, p.PublicKey); i%3 == 0 {
			require.NoError(t, r.RemovePeer(t.Context(), p.PublicKey)) // the one that was just seen
			removed++
		}
		if len(seen) == 100 {
			r.add(t, PeerSpec{Name: "late"})
		}
	}
	require.Equal(t, keys, seen[:200])
	require.Len(t, seen, 201)

	var paged []Peer
	var after uint64
	for {
		page := slices.Collect(r.Peers(ListOptions{Account: "a", After: after, Limit: 7}))
		require.LessOrEqual(t, len(page), 7)
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Sequence
		paged = append(paged, page...)
		require.NoError(t, r.RemovePeer(t.Context(), page[len(page)-1].PublicKey)) // the cursor's own peer
	}
	require.Len(t, paged, 66) // 100, of which a third was removed
	require.True(t, slices.IsSortedFunc(paged, func(a, b Peer) int { return cmp.Compare(a.Sequence, b.Sequence) }))
	for _, p := range paged {
		require.Equal(t, "a", p.Account)
	}
	require.Empty(t, slices.Collect(r.Peers(ListOptions{Account: "absent"})))
	require.Len(t, slices.Collect(r.Peers(ListOptions{Limit: 70})), 70)
	require.Len(t, slices.Collect(r.Accounts(ListOptions{})), 2)
	require.Len(t, slices.Collect(r.Accounts(ListOptions{Limit: 1})), 1)
	require.Equal(t, 67, removed)
}

// TestWhatIsReturnedIsACopy changes everything that can be reached from what the node returns and takes.
func TestWhatIsReturnedIsACopy(t *testing.T) {
	r := startRig(t)
	spec := PeerSpec{PublicKey: newKey(t), Labels: map[string]string{"k": "v"}, DataCap: capOf(1000)}
	spec.DataCap.Thresholds = []int{50}
	added := r.add(t, spec)
	want, err := r.Peer(spec.PublicKey)
	require.NoError(t, err)

	spoil := func(p Peer) {
		p.Labels["k"], p.Labels["new"] = "spoiled", "spoiled"
		p.Addrs[0] = p.Addrs[0].Next()
		p.DataCap.Thresholds[0] = 99
	}
	spoil(added.Peer)
	spec.Labels["k"], spec.DataCap.Thresholds[0] = "spoiled", 99
	got, err := r.Peer(spec.PublicKey)
	require.NoError(t, err)
	require.Equal(t, want, got)
	spoil(got)
	for p := range r.Peers(ListOptions{}) {
		require.Equal(t, want, p)
		spoil(p)
	}
	got, err = r.Peer(spec.PublicKey)
	require.NoError(t, err)
	require.Equal(t, want, got)
	r.sound(t)
}
