package quota_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
)

// recorder keeps what a meter reports. It is for one goroutine.
type recorder struct{ crossings []quota.Crossing }

func (r *recorder) notify(c quota.Crossing) { r.crossings = append(r.crossings, c) }

// drain returns what was reported since the last call.
func (r *recorder) drain() []quota.Crossing {
	c := r.crossings
	r.crossings = nil
	return c
}

func limited(limit uint64) quota.Budget { return quota.Budget{Limited: true, Limit: limit} }

func TestMeterReachesLimitExactly(t *testing.T) {
	var r recorder
	m := quota.NewMeter(quota.Counters{Download: 100, Upload: 50}, limited(1150), r.notify)
	require.Equal(t, quota.Pass, m.Take(quota.Download, 600))
	require.Equal(t, quota.Pass, m.Take(quota.Upload, 399))
	require.False(t, m.Depleted())
	require.Empty(t, r.drain())
	require.Equal(t, quota.Pass, m.Take(quota.Upload, 1))
	require.True(t, m.Depleted(), "at the limit, not only beyond it")
	require.True(t, m.Blocked())
	require.Equal(t, []quota.Crossing{{Depleted: true, Counter: 1150}}, r.drain())
	require.Equal(t, quota.Refuse, m.Take(quota.Download, 1))
	require.Equal(t, quota.Refuse, m.Take(quota.Download, 0))
	require.Empty(t, r.drain(), "a depletion is reported once")
	require.Equal(t, quota.Counters{Download: 700, Upload: 450}, m.Counters())
}

func TestMeterLatches(t *testing.T) {
	var r recorder
	m := quota.NewMeter(quota.Counters{}, limited(1000), r.notify)
	require.Equal(t, quota.Pass, m.Take(quota.Download, 990))
	require.Equal(t, quota.Refuse, m.Take(quota.Upload, 11))
	require.Equal(t, []quota.Crossing{{Depleted: true, Counter: 990}}, r.drain())
	require.True(t, m.Depleted())
	require.Equal(t, quota.Refuse, m.Take(quota.Download, 10), "would fit, but the subject is cut off")

	for _, b := range []quota.Budget{limited(1000), limited(995), {Limited: true, Limit: 995, Mark: 994}} {
		m.SetBudget(b)
		require.Equal(t, quota.Refuse, m.Take(quota.Download, 1), "%+v has no more room", b)
	}
	require.Empty(t, r.drain())
	m.SetBudget(limited(1000))
	require.Equal(t, quota.Pass, m.Take(quota.Download, 10))
	require.Equal(t, []quota.Crossing{{Depleted: true, Counter: 1000}}, r.drain())
}

func TestMeterOneDirection(t *testing.T) {
	for counted, d := range map[quota.Counted]quota.Direction{quota.CountDownload: quota.Download, quota.CountUpload: quota.Upload} {
		other := 1 - d
		b := limited(1000)
		b.Counted = counted
		m := quota.NewMeter(quota.Counters{}, b, nil)
		require.Equal(t, quota.Pass, m.Take(other, 5000))
		require.Equal(t, quota.Pass, m.Take(d, 999))
		require.Equal(t, quota.Pass, m.Take(other, 5000))
		require.Equal(t, uint64(999), m.Counters().Of(counted))
		require.Equal(t, uint64(10999), m.Counters().Of(quota.CountBoth))
		require.Equal(t, quota.Pass, m.Take(d, 1))
		require.Equal(t, quota.Refuse, m.Take(other, 1), "a blocked subject moves nothing")
	}
}

func TestMeterThrottle(t *testing.T) {
	var r recorder
	m := quota.NewMeter(quota.Counters{}, quota.Budget{Limited: true, Limit: 100, AtEnd: quota.Throttle, Counted: quota.CountDownload}, r.notify)
	require.Equal(t, quota.Pass, m.Take(quota.Download, 99))
	require.Equal(t, quota.Exceeded, m.Take(quota.Download, 2), "a part of it lies beyond")
	require.Equal(t, []quota.Crossing{{Depleted: true, Counter: 101}}, r.drain())
	require.Equal(t, quota.Exceeded, m.Take(quota.Upload, 7), "a throttle is for both directions")
	require.Equal(t, quota.Exceeded, m.Take(quota.Download, 7))
	require.Empty(t, r.drain())
	require.Equal(t, quota.Counters{Download: 108, Upload: 7}, m.Counters())
	require.True(t, m.Depleted())
	require.False(t, m.Blocked())

	m = quota.NewMeter(quota.Counters{}, quota.Budget{Limited: true, Limit: 100, AtEnd: quota.Throttle}, nil)
	require.Equal(t, quota.Pass, m.Take(quota.Download, 100), "no byte of it lies beyond")
	require.Equal(t, quota.Exceeded, m.Take(quota.Download, 1))
}

func TestMeterMark(t *testing.T) {
	var r recorder
	m := quota.NewMeter(quota.Counters{}, quota.Budget{Limited: true, Limit: 1000, Mark: 800}, r.notify)
	m.Take(quota.Download, 799)
	require.Empty(t, r.drain())
	m.Take(quota.Download, 2)
	require.Equal(t, []quota.Crossing{{Counter: 801}}, r.drain())
	m.Take(quota.Download, 2)
	m.SetBudget(quota.Budget{Limited: true, Limit: 2000, Mark: 800})
	require.Empty(t, r.drain(), "a mark is reported once, whatever becomes of the limit")
	m.SetBudget(quota.Budget{Limited: true, Limit: 2000, Mark: 802})
	require.Equal(t, []quota.Crossing{{Counter: 803}}, r.drain(), "a mark that was passed when it came")
	m.SetBudget(quota.Budget{Limited: true, Limit: 900, Mark: 850})
	m.Take(quota.Upload, 97)
	require.Equal(t, []quota.Crossing{{Counter: 900}, {Depleted: true, Counter: 900}}, r.drain())

	m = quota.NewMeter(quota.Counters{}, quota.Budget{Mark: 10}, r.notify)
	m.Take(quota.Upload, 10)
	require.Equal(t, []quota.Crossing{{Counter: 10}}, r.drain(), "a mark without a limit")
}

func TestMeterDepletedFromTheStart(t *testing.T) {
	var r recorder
	m := quota.NewMeter(quota.Counters{Upload: 5}, limited(5), r.notify)
	require.Equal(t, []quota.Crossing{{Depleted: true, Counter: 5}}, r.drain())
	m.SetBudget(limited(4))
	m.SetBudget(limited(4))
	require.Empty(t, r.drain(), "less room is no new depletion")
	m.SetBudget(quota.Budget{})
	require.Equal(t, quota.Pass, m.Take(quota.Upload, 1))
	m.SetBudget(limited(0))
	require.Equal(t, []quota.Crossing{{Depleted: true, Counter: 6}}, r.drain())
	require.Equal(t, quota.Refuse, m.Take(quota.Upload, 0))
	m.SetBudget(limited(3))
	require.Equal(t, []quota.Crossing{{Depleted: true, Counter: 6}}, r.drain(), "another limit, used up as it came")
}

func TestMeterNoBudgetNeverRefuses(t *testing.T) {
	m := quota.NewMeter(quota.Counters{}, quota.Budget{Limit: 1, AtEnd: quota.Block}, nil)
	for range 3000 { // more than an epoch holds
		require.Equal(t, quota.Pass, m.Take(quota.Upload, quota.MaxPacket))
	}
	require.Equal(t, uint64(3000*quota.MaxPacket), m.Counters().Upload)
	require.False(t, m.Depleted())
	require.False(t, m.Blocked())
}

func TestMeterBadSizes(t *testing.T) {
	m := quota.NewMeter(quota.Counters{Download: 7}, quota.Budget{}, nil)
	for _, n := range []int{-1, math.MinInt, quota.MaxPacket + 1, math.MaxInt} {
		require.Equal(t, quota.Refuse, m.Take(quota.Download, n))
		m.Refund(quota.Download, n)
	}
	require.Equal(t, quota.Counters{Download: 7}, m.Counters())
	require.False(t, m.Depleted())
}

func TestMeterRefund(t *testing.T) {
	var r recorder
	m := quota.NewMeter(quota.Counters{Download: 900}, quota.Budget{Limited: true, Limit: 1000, Mark: 950}, r.notify)
	reached := []quota.Crossing{{Counter: 1000}, {Depleted: true, Counter: 1000}}
	for range 2 {
		require.Equal(t, quota.Pass, m.Take(quota.Download, 100))
		require.Equal(t, reached, r.drain(), "reached again after a refund is reported again")
		m.Refund(quota.Download, 100)
		require.False(t, m.Depleted())
	}
	require.Equal(t, quota.Refuse, m.Take(quota.Download, 101))
	r.drain()
	m.Refund(quota.Download, 500)
	require.True(t, m.Depleted(), "who was cut off stays cut off")
	m.Refund(quota.Download, quota.MaxPacket)
	m.Refund(quota.Upload, 1)
	require.Equal(t, quota.Counters{}, m.Counters(), "not below 0")
	require.Empty(t, r.drain())
}

func TestMeterRefundBelowEpoch(t *testing.T) {
	const start = 4096 * quota.MaxPacket
	m := quota.NewMeter(quota.Counters{Upload: start}, quota.Budget{}, nil)
	for range 3000 {
		m.Refund(quota.Upload, quota.MaxPacket)
	}
	require.Equal(t, quota.Counters{Upload: 1096 * quota.MaxPacket}, m.Counters())
}

func TestMeterNotifyMayCallMeter(t *testing.T) {
	var m *quota.Meter
	renewals := 0
	m = quota.NewMeter(quota.Counters{}, quota.Budget{}, func(c quota.Crossing) {
		renewals++
		if c.Depleted && renewals < 5 {
			m.SetBudget(limited(c.Counter + 10))
		}
		m.Take(quota.Upload, 0)
		m.Counters()
	})
	m.SetBudget(limited(10))
	for range 60 {
		m.Take(quota.Download, 1)
	}
	require.Equal(t, 5, renewals)
	require.Equal(t, uint64(50), m.Counters().Download)
}

func TestMeterChangesCounted(t *testing.T) {
	m := quota.NewMeter(quota.Counters{}, limited(100), nil)
	m.Take(quota.Upload, 90)
	m.Take(quota.Download, 20)
	require.True(t, m.Depleted())
	b := limited(100)
	b.Counted = quota.CountDownload
	m.SetBudget(b)
	require.False(t, m.Depleted(), "the latch was for another counter")
	require.Equal(t, quota.Pass, m.Take(quota.Download, 100))
	require.True(t, m.Depleted())
}

// TestTakeBoth has a packet be counted by both meters or by neither, and who is told of a mark on the way sees nothing else.
func TestTakeBoth(t *testing.T) {
	var told []quota.Crossing
	marked := limited(1000)
	marked.Mark = 300
	own := quota.NewMeter(quota.Counters{}, marked, func(c quota.Crossing) { told = append(told, c) })
	shared := quota.NewMeter(quota.Counters{}, limited(500), nil)
	both := func(n int) quota.Verdict { return quota.TakeBoth(own, shared, quota.Download, n) }
	counted := func() [2]uint64 { return [2]uint64{own.Counters().Download, shared.Counters().Download} }

	require.Equal(t, quota.Pass, both(200))
	require.Equal(t, quota.Refuse, both(301), "the account has not so much")
	require.Equal(t, [2]uint64{200, 200}, counted())
	require.Empty(t, told, "the mark is passed by a packet that does not pass")
	require.True(t, shared.Blocked())
	require.False(t, own.Blocked())

	shared.SetBudget(limited(2000))
	require.Equal(t, quota.Pass, both(300))
	require.Equal(t, []quota.Crossing{{Counter: 500}}, told)
	require.Equal(t, quota.Refuse, both(501), "the subject has not so much")
	require.Equal(t, [2]uint64{500, 500}, counted())
	require.True(t, own.Blocked())
	require.False(t, shared.Blocked())
	require.Equal(t, quota.Refuse, both(1), "it is cut off")
	require.Equal(t, quota.Refuse, both(-1))

	shared.SetBudget(quota.Budget{Limited: true, Limit: 600, AtEnd: quota.Throttle})
	own.SetBudget(quota.Budget{})
	require.Equal(t, quota.Exceeded, both(101), "the stricter verdict")
	require.Equal(t, quota.Exceeded, both(0))
	require.Equal(t, [2]uint64{601, 601}, counted())
}
