package quota

import (
	"slices"
	"time"
)

// steps is how many steps a rolling window moves in.
const steps = 60

// step is the length of the steps of a rolling window, in seconds: whole, since windows are whole minutes. Steps are
// numbered from 1970; step n reaches up to n times the length and includes that instant.
type step int64

func stepOf(length time.Duration) step { return step(length / steps / time.Second) }

// of is the number of the step that t lies in.
func (s step) of(t time.Time) int64 {
	n := t.Unix() / int64(s)
	if t.Unix()%int64(s) != 0 || t.Nanosecond() != 0 {
		n++
	}
	return n
}

// after is the end of the step that begins at t or that t lies inside of.
func (s step) after(t time.Time) time.Time {
	return time.Unix((t.Unix()/int64(s)+1)*int64(s), 0).UTC()
}

// gone reports whether a window that ends at t has left step n behind.
func (s step) gone(n int64, t time.Time) bool { return n <= t.Unix()/int64(s)-steps }

// bucket is what was seen in one step.
type bucket struct {
	Step     int64  `json:"step"`
	Download uint64 `json:"download,omitzero"`
	Upload   uint64 `json:"upload,omitzero"`
	Extra    uint64 `json:"extra,omitzero"`
}

// window is the buckets of a rolling period that are not gone and not empty, ascending: at most steps + 1.
type window []bucket

// charge adds to the bucket of a step that is no earlier than the last.
func (w *window) charge(n int64, used Counters, extra uint64) {
	if used == (Counters{}) && extra == 0 {
		return
	}
	if len(*w) == 0 || (*w)[len(*w)-1].Step != n {
		*w = append(*w, bucket{Step: n})
	}
	b := &(*w)[len(*w)-1]
	b.Download, b.Upload, b.Extra = addSat(b.Download, used.Download), addSat(b.Upload, used.Upload), addSat(b.Extra, extra)
}

// expire drops the buckets that a window ending at t has left behind.
func (w *window) expire(s step, t time.Time) {
	*w = slices.DeleteFunc(*w, func(b bucket) bool { return s.gone(b.Step, t) })
}

// withoutUse returns the buckets with only what was topped up.
func (w window) withoutUse() window {
	var kept window
	for _, b := range w {
		kept.charge(b.Step, Counters{}, b.Extra)
	}
	return kept
}

// sum is what all buckets hold.
func (w window) sum() (used Counters, extra uint64) {
	for _, b := range w {
		used = used.plus(Counters{Download: b.Download, Upload: b.Upload})
		extra = addSat(extra, b.Extra)
	}
	return used, extra
}
