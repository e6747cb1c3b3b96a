package wgnode

import "time"

// instant is a time by the wall clock, in nanoseconds since 1970, which takes a third of the memory of a time.Time; 0 is the zero
// time. It reaches from 1678 to 2262, so that it is for times of the node's own and not for those that somebody chooses.
type instant int64

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.UnixNano())
}

// time is the inverse of instantOf, in UTC.
func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

// since is how long after another one that is.
func (i instant) since(earlier instant) time.Duration { return time.Duration(i - earlier) }

// age is how long ago that is by the wall clock.
func (i instant) age(now time.Time) time.Duration { return instantOf(now).since(i) }
