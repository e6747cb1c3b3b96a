package wggo

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/tai64n"
	"pgregory.net/rapid"
)

// A stay against the list of all that happened in it.
func TestStay(t *testing.T) {
	const after = 100 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1e9, 0)
		now := start
		woken := rapid.Bool().Draw(t, "woken")
		s := arrive(now, woken)
		var heard []time.Time
		received := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			},
			"knock": func(*rapid.T) {
				s.knock(now)
				heard = append(heard, now)
			},
			"report": func(t *rapid.T) {
				more := rapid.SampledFrom([]uint64{0, 0, 32, 1500}).Draw(t, "bytes")
				received += more
				s.report(received, now)
				if more > 0 {
					heard = append(heard, now)
				}
			},
			"": func(t *rapid.T) {
				since, limit := start, after
				if len(heard) > 0 {
					since = heard[len(heard)-1]
				} else if woken {
					limit = after / wokenShare
				}
				if want := now.Sub(since) >= limit; s.idle(after, now) != want {
					t.Fatalf("idle is %v at %v, heard %v", !want, now, heard)
				}
			},
		})
	})
}

// An initiation is taken only if it is later than all that were, in whatever order they come.
func TestReplayFilter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r replay
		last := uint64(0)
		for _, n := range rapid.SliceOf(rapid.Uint64Range(0, 20)).Draw(t, "times") {
			var stamp tai64n.Timestamp
			binary.BigEndian.PutUint64(stamp[4:], n)
			if got := r.fresh(stamp); got != (n > last) {
				t.Fatalf("%d after %d: %v", n, last, got)
			}
			last = max(last, n)
		}
	})
}
