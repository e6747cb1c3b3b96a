package load

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/waylume/waylume/registry"
)

// Config says how samples become a load. The zero value is what most want.
type Config struct {
	// Smoothing is the time constant of fractions, MinSmoothing to MaxSmoothing; 0: DefaultSmoothing.
	Smoothing time.Duration
	// Thresholds are when the load calls for more nodes, or fewer. The zero value is DefaultThresholds.
	Thresholds Thresholds
}

// Bounds of [Config].Smoothing.
const (
	DefaultSmoothing = 30 * time.Second
	MinSmoothing     = time.Second
	MaxSmoothing     = time.Hour
)

// Thresholds are scores from 0 to 1, and how long a score must stay beyond one. Of the scores,
// 0 < InBelow < InAbove <= OutBelow < OutAbove <= 1; of the times, 0 < Settle <= OutHold <= InHold <= MaxHold.
type Thresholds struct {
	// OutAbove: the signal is scale_out once the score was this or more for OutHold. It is steady again once the score was below
	// OutBelow for Settle.
	OutAbove, OutBelow float64
	// InBelow: the signal is scale_in once the score was this or less for InHold. It is steady again once the score was above
	// InAbove for Settle.
	InBelow, InAbove float64

	OutHold, InHold, Settle time.Duration
}

// MaxHold bounds the times of [Thresholds].
const MaxHold = 24 * time.Hour

// DefaultThresholds are those of a [Config] that has none.
func DefaultThresholds() Thresholds {
	return Thresholds{
		OutAbove: 0.80, OutBelow: 0.65, OutHold: 3 * time.Minute,
		InBelow: 0.20, InAbove: 0.35, InHold: 30 * time.Minute,
		Settle: time.Minute,
	}
}

// Validate returns an error that matches [registry.ErrInvalid] and names each rule that is broken.
func (t Thresholds) Validate() error {
	var errs []error
	for _, s := range []struct {
		name  string
		value float64
	}{{"OutAbove", t.OutAbove}, {"OutBelow", t.OutBelow}, {"InAbove", t.InAbove}, {"InBelow", t.InBelow}} {
		if math.IsNaN(s.value) || s.value <= 0 || s.value > 1 {
			errs = append(errs, fmt.Errorf("%w: %s %v: use a score above 0, 1 at most", registry.ErrInvalid, s.name, s.value))
		}
	}
	if len(errs) == 0 && (t.InBelow >= t.InAbove || t.InAbove > t.OutBelow || t.OutBelow >= t.OutAbove) {
		errs = append(errs, fmt.Errorf(
			"%w: InBelow %v, InAbove %v, OutBelow %v, OutAbove %v: make them ascend; InAbove and OutBelow may be equal", registry.ErrInvalid, t.InBelow, t.InAbove, t.OutBelow, t.OutAbove))
	}
	if t.Settle <= 0 || t.Settle > t.OutHold || t.OutHold > t.InHold || t.InHold > MaxHold {
		errs = append(errs, fmt.Errorf("%w: Settle %v, OutHold %v, InHold %v: they must be above 0, ascend or be equal, and be %v at most",
			registry.ErrInvalid, t.Settle, t.OutHold, t.InHold, MaxHold))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() (Config, error) {
	if c.Smoothing == 0 {
		c.Smoothing = DefaultSmoothing
	}
	if c.Thresholds == (Thresholds{}) {
		c.Thresholds = DefaultThresholds()
	}
	err := c.Thresholds.Validate()
	if c.Smoothing < MinSmoothing || c.Smoothing > MaxSmoothing {
		err = errors.Join(err, fmt.Errorf("%w: Smoothing %v: use %v to %v, or 0 for %v",
			registry.ErrInvalid, c.Smoothing, MinSmoothing, MaxSmoothing, DefaultSmoothing))
	}
	return c, err
}
