package quota_test

import (
	"testing"
	"time"

	"github.com/waylume/waylume/quota"
)

func BenchmarkMeterTake(b *testing.B) {
	for name, budget := range map[string]quota.Budget{
		"unlimited": {},
		"limited":   {Limited: true, Limit: 1 << 62, Mark: 1 << 61},
		"throttled": {Limited: true, AtEnd: quota.Throttle},
		"refused":   {Limited: true},
	} {
		b.Run(name, func(b *testing.B) {
			m := quota.NewMeter(quota.Counters{}, budget, func(quota.Crossing) {})
			b.ReportAllocs()
			for b.Loop() {
				m.Take(quota.Download, 1400)
			}
		})
	}
}

func BenchmarkMeterTakeParallel(b *testing.B) {
	m := quota.NewMeter(quota.Counters{}, quota.Budget{Limited: true, Limit: 1 << 62}, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Take(quota.Upload, 1400)
		}
	})
}

func BenchmarkLedgerAdvance(b *testing.B) {
	for name, p := range map[string]quota.Period{
		"none":    {},
		"daily":   {Kind: quota.Daily, TimeZone: "Europe/Berlin"},
		"rolling": {Kind: quota.Rolling, Window: 24 * time.Hour},
	} {
		b.Run(name, func(b *testing.B) {
			now, c := noon, quota.Counters{}
			l, err := quota.NewLedger(quota.Cap{Bytes: quota.MaxBytes, Period: p}, now, c)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				c.Download += 1400
				now = now.Add(time.Microsecond)
				l.Advance(now, c)
			}
		})
	}
}

func BenchmarkLedgerRollOver(b *testing.B) {
	l, err := quota.NewLedger(quota.Cap{Bytes: quota.GiB, Period: quota.Period{Kind: quota.Monthly, TimeZone: "Europe/Berlin"}}, noon, quota.Counters{})
	if err != nil {
		b.Fatal(err)
	}
	first := l.Clone()
	b.ReportAllocs()
	for b.Loop() {
		if next := l.Next(); next.Year() < 2100 {
			l.Advance(next, quota.Counters{})
		} else {
			l = first.Clone()
		}
	}
}
