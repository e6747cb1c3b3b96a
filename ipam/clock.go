package ipam

import "time"

// clock turns the caller's clock into one that starts at zero, never runs back and does not notice when the wall clock is
// set, since it keeps to the monotonic reading where there is one.
type clock struct {
	start time.Time
	at    time.Duration
}

// maxElapsed leaves room to add a quarantine.
const maxElapsed = time.Duration(1<<63-1) - 2*MaxQuarantine

// advance moves the clock on to now.
func (c *clock) advance(now time.Time) time.Duration {
	c.at = max(c.at, min(now.Sub(c.start), maxElapsed))
	return c.at
}

// roundUp returns the least multiple of grain that is d or more.
func roundUp(d, grain time.Duration) time.Duration {
	return (d + grain - 1).Truncate(grain)
}

// wall returns the time on the wall that is d from now.
func wall(now time.Time, d time.Duration) time.Time { return now.Round(0).Add(d) }
