package kernel

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// fakeKernel does with quotas and counters what nftables does (net/netfilter/nft_quota.c, nft_counter.c).
type fakeKernel struct {
	objects  map[string]nft.Object
	counters quota.Counters
}

// put follows a change of meters as the transaction of a change does: what stays keeps what it has seen.
func (k *fakeKernel) put(m *meter) {
	want := make(map[string]nft.Object)
	m.objects(want)
	for name, o := range want {
		if old, ok := k.objects[name]; ok {
			o.Used = old.Used
		}
		want[name] = o
	}
	k.objects = want
}

// take is a packet: it returns whether it passes, and the quotas that it used up.
func (k *fakeKernel) take(m *meter, d quota.Direction, n uint64) (passes bool, usedUp []string) {
	if m.blocked() {
		return false, nil
	}
	return k.takeLate(m, d, n)
}

// takeLate is take for a packet that is past the addresses that are blocked.
func (k *fakeKernel) takeLate(m *meter, d quota.Direction, n uint64) (passes bool, usedUp []string) {
	o := m.tablesObjects()
	limit, watch := o.LimitDown, o.WatchDown
	if d == quota.Upload {
		limit, watch = o.LimitUp, o.WatchUp
	}
	see := func(name string) (over bool) {
		if name == "" {
			return false
		}
		q := k.objects[name]
		was := q.Used >= q.Bytes
		q.Used += n
		k.objects[name] = q
		if !was && q.Used >= q.Bytes {
			usedUp = append(usedUp, name)
		}
		return q.Used > q.Bytes
	}
	if see(limit) {
		return false, usedUp
	}
	see(watch)
	if d == quota.Download {
		k.counters.Download += n
	} else {
		k.counters.Upload += n
	}
	return true, usedUp
}

// TestMeterIsAMeter holds the quotas that are made of budgets to what quota.Meter does with the same budgets and packets.
func TestMeterIsAMeter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := quota.NewMeter(quota.Counters{}, quota.Budget{}, nil)
		m := meter{name: "p"}
		k := &fakeKernel{}
		k.put(&m)
		for range 60 {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				b := quota.Budget{
					Limited: rapid.Bool().Draw(t, "limited"), Limit: rapid.Uint64Range(0, 400).Draw(t, "limit"),
					Counted: rapid.SampledFrom([]quota.Counted{quota.CountBoth, quota.CountDownload, quota.CountUpload}).Draw(t, "counted"),
					AtEnd:   rapid.SampledFrom([]quota.Action{quota.Block, quota.Throttle}).Draw(t, "at end"),
					Mark:    rapid.Uint64Range(0, 300).Draw(t, "mark"),
				}
				model.SetBudget(b)
				m = m.with(b, k.counters)
				k.put(&m)
			default:
				d := rapid.SampledFrom([]quota.Direction{quota.Download, quota.Upload}).Draw(t, "direction")
				n := rapid.IntRange(1, 60).Draw(t, "bytes")
				passes, usedUp := k.take(&m, d, uint64(n))
				require.Equal(t, model.Take(d, n) != quota.Refuse, passes, "a packet of %d bytes, %+v", n, m)
				for _, name := range usedUp {
					m.usedUpQuota(name, k.counters)
				}
				k.put(&m)
				if len(usedUp) > 0 && m.blocked() {
					late, _ := k.takeLate(&m, d, 1)
					require.False(t, late, "a packet that met the block too early passes, %+v", m)
				}
			}
			require.Equal(t, model.Counters(), k.counters)
			require.Equal(t, model.Depleted(), m.usedUp(k.counters), "%+v", m)
			require.Equal(t, model.Blocked(), m.blocked())
		}
	})
}

// TestAdoptedMeterKeepsItsQuotas: what an earlier process left is taken over, and nothing is made anew.
func TestAdoptedMeterKeepsItsQuotas(t *testing.T) {
	b := quota.Budget{Limited: true, Limit: 1000, Mark: 800}
	before := meter{name: "p"}.with(b, quota.Counters{}).with(b, quota.Counters{Download: 10})
	objects := make(map[string]nft.Object)
	before.objects(objects)
	for name, o := range objects {
		if o.Quota {
			o.Used = 10
			objects[name] = o
		}
	}
	after := meter{name: "p", seed: quota.Counters{Download: 10}}.adopt(b, quota.Counters{Download: 10}, quotasLeft(objects))
	require.Equal(t, before.limit.name, after.limit.name)
	require.Equal(t, before.watch.name, after.watch.name)

	// One of another limit is no use, and its name is not used again.
	b.Limit = 2000
	after = meter{name: "p"}.adopt(b, quota.Counters{Download: 10}, quotasLeft(objects))
	require.NotContains(t, objects, after.limit.name)

	// That of a subject that is blocked is kept whatever it has seen.
	before = meter{name: "p"}.with(quota.Budget{Limited: true, Limit: 1000}, quota.Counters{})
	before.objects(objects)
	require.True(t, before.usedUpQuota(before.limit.name, quota.Counters{Download: 1000}))
	require.False(t, before.usedUpQuota(before.limit.name, quota.Counters{Download: 1000}), "it is told of twice")
	left := objects[before.limit.name]
	left.Used = 10 << 20 // with what was refused
	objects[before.limit.name] = left
	after = meter{name: "p"}.adopt(quota.Budget{Limited: true, Limit: 1000}, quota.Counters{Download: 1000}, quotasLeft(objects))
	require.True(t, after.blocked())
	require.Equal(t, before.limit.name, after.limit.name)
	lower := after.with(quota.Budget{Limited: true, Limit: 10}, quota.Counters{Download: 1000})
	lower.objects(objects)
	require.Equal(t, nft.Object{Quota: true, Bytes: 10, Used: 10, Over: true}, objects[lower.limit.name], "more than all of it the kernel refuses")
}
