package quota_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/quota"
)

// meterModel is a meter in the obvious way: one variable for each thing that a meter's documentation speaks of.
type meterModel struct {
	c         quota.Counters
	b         quota.Budget
	latched   bool
	crossings []quota.Crossing
}

func (m *meterModel) counter() uint64 { return m.c.Of(m.b.Counted) }

func (m *meterModel) depleted() bool {
	return m.b.Limited && (m.latched || m.counter() >= m.b.Limit)
}

func (m *meterModel) marked() bool { return m.b.Mark != 0 && m.counter() >= m.b.Mark }

func (m *meterModel) field(d quota.Direction) *uint64 {
	if d == quota.Upload {
		return &m.c.Upload
	}
	return &m.c.Download
}

// observe reports what change brings about.
func (m *meterModel) observe(change func()) {
	marked, depleted := m.marked(), m.depleted()
	change()
	if m.marked() && !marked {
		m.crossings = append(m.crossings, quota.Crossing{Counter: m.counter()})
	}
	if m.depleted() && !depleted {
		m.crossings = append(m.crossings, quota.Crossing{Depleted: true, Counter: m.counter()})
	}
}

func (m *meterModel) take(d quota.Direction, n int) (v quota.Verdict) {
	m.observe(func() {
		was := m.depleted()
		counts := m.b.Counted == quota.CountBoth || (m.b.Counted == quota.CountUpload) == (d == quota.Upload)
		if m.b.Limited && m.b.AtEnd == quota.Block {
			if !was && counts && m.counter()+uint64(n) > m.b.Limit {
				m.latched = true // only by a packet too large: at the limit, a refund makes room again
			}
			if m.depleted() {
				v = quota.Refuse
				return
			}
		}
		*m.field(d) += uint64(n)
		if m.b.Limited && (was || m.counter() > m.b.Limit) {
			v = quota.Exceeded
		}
	})
	return v
}

func (m *meterModel) refund(d quota.Direction, n int) {
	f := m.field(d)
	*f -= min(*f, uint64(n))
}

func (m *meterModel) setBudget(b quota.Budget) {
	old, marked, depleted := m.b, m.marked(), m.depleted()
	if b == old {
		return
	}
	more := !b.Limited || !old.Limited || b.AtEnd == quota.Throttle || b.Counted != old.Counted || b.Limit > old.Limit
	m.b = b
	if more {
		m.latched = false
	}
	if m.marked() && (!marked || b.Mark != old.Mark || b.Counted != old.Counted) {
		m.crossings = append(m.crossings, quota.Crossing{Counter: m.counter()})
	}
	if m.depleted() && (!depleted || b.Counted != old.Counted || b.Limit > old.Limit) {
		m.crossings = append(m.crossings, quota.Crossing{Depleted: true, Counter: m.counter()})
	}
}

func TestMeterMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Counters far from 0 and close to each other make marks and limits that are often met.
		base := rapid.SampledFrom([]uint64{0, 1000, 1 << 40}).Draw(t, "base")
		// Large packets overflow an epoch's fields now and then.
		unit := rapid.SampledFrom([]int{1, 1000, quota.MaxPacket / 10}).Draw(t, "unit")
		near := rapid.Custom(func(t *rapid.T) uint64 {
			return base + uint64(rapid.IntRange(0, 60).Draw(t, "value")*unit)
		})
		budgets := rapid.Custom(func(t *rapid.T) quota.Budget {
			b := quota.Budget{
				Limited: rapid.IntRange(0, 4).Draw(t, "limited") > 0, Limit: near.Draw(t, "limit"),
				Counted: rapid.SampledFrom([]quota.Counted{quota.CountBoth, quota.CountDownload, quota.CountUpload}).Draw(t, "counted"),
				AtEnd:   rapid.SampledFrom([]quota.Action{quota.Block, quota.Block, quota.Throttle}).Draw(t, "action"),
			}
			if rapid.Bool().Draw(t, "marked") {
				b.Mark = near.Draw(t, "mark")
			}
			return b
		})
		directions := rapid.SampledFrom([]quota.Direction{quota.Download, quota.Upload})
		sizes := rapid.Custom(func(t *rapid.T) int { return rapid.IntRange(0, 10).Draw(t, "n") * unit })

		var r recorder
		model := &meterModel{c: quota.Counters{Download: near.Draw(t, "download"), Upload: rapid.SampledFrom([]uint64{0, 10}).Draw(t, "upload")}}
		first := budgets.Draw(t, "budget")
		meter := quota.NewMeter(model.c, first, r.notify)
		model.setBudget(first)

		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				d, n := directions.Draw(t, "direction"), sizes.Draw(t, "size")
				require.Equal(t, model.take(d, n), meter.Take(d, n))
			},
			"refund": func(t *rapid.T) {
				d, n := directions.Draw(t, "direction"), sizes.Draw(t, "size")
				model.refund(d, n)
				meter.Refund(d, n)
			},
			"budget": func(t *rapid.T) {
				b := budgets.Draw(t, "budget")
				if rapid.Bool().Draw(t, "same but limit") {
					b = model.b
					b.Limit = near.Draw(t, "limit")
				}
				model.setBudget(b)
				meter.SetBudget(b)
			},
			"": func(t *rapid.T) {
				require.Equal(t, model.c, meter.Counters())
				require.Equal(t, model.depleted(), meter.Depleted())
				require.Equal(t, model.depleted() && model.b.AtEnd == quota.Block, meter.Blocked())
				require.Equal(t, model.crossings, r.crossings)
				model.crossings, r.crossings = nil, nil
			},
		})
	})
}
