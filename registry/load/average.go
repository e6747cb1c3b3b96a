package load

import (
	"math"
	"time"
)

// average is a fraction that is smoothed by the time that passes.
type average struct {
	known bool
	value float64
	at    time.Time
}

// add takes what the fraction was on average since the time before. Taken in two halves of the time it is the same.
func (a *average) add(fraction float64, at time.Time, smoothing time.Duration) {
	fraction = min(max(fraction, 0), 1)
	if !a.known {
		*a = average{known: true, value: fraction, at: at}
		return
	}
	kept := math.Exp(-at.Sub(a.at).Seconds() / smoothing.Seconds())
	a.value = fraction + kept*(a.value-fraction)
	a.at = at
}

// forget drops what was not measured for long.
func (a *average) forget(at time.Time, after time.Duration) {
	if a.known && at.Sub(a.at) > after {
		*a = average{}
	}
}

// resolution is how fine a fraction is told: finer than any that a threshold could mean, and short when it is written.
const resolution = 1e4

// rounded is the fraction; nil when it is unknown.
func (a *average) rounded() *float64 {
	if !a.known {
		return nil
	}
	return new(math.Round(a.value*resolution) / resolution)
}
