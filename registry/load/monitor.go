package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/waylume/waylume/registry"
)

// Source takes a sample. With an error it may know some of it.
type Source func(ctx context.Context) (Sample, error)

// MonitorConfig is a [Monitor]'s.
type MonitorConfig struct {
	// Source takes samples, one at a time. Required.
	Source Source
	// Interval is the time between samples, MinInterval to MaxInterval; 0: DefaultInterval.
	Interval time.Duration
	Meter    Config
	// OnScaling is called when the signal changes, before the next sample is taken. Nil: nobody is told, but for the log.
	OnScaling func(ctx context.Context, from, to registry.Scaling, l registry.Load)
	// Logger: nil discards. A change of the signal is logged, and an error of the source when it is another one than before.
	Logger *slog.Logger
}

// Bounds of [MonitorConfig].Interval.
const (
	DefaultInterval = 5 * time.Second
	MinInterval     = MinElapsed
	MaxInterval     = time.Minute
)

// Monitor takes samples regularly. Its methods may be called from any goroutine.
type Monitor struct {
	cfg   MonitorConfig
	meter *Meter

	mu  sync.Mutex
	err error
}

// NewMonitor returns a monitor that does nothing yet. Errors match [registry.ErrInvalid], and name all that is wrong.
func NewMonitor(cfg MonitorConfig) (*Monitor, error) {
	var errs []error
	if cfg.Source == nil {
		errs = append(errs, fmt.Errorf("%w: Source is nil: give what takes samples", registry.ErrInvalid))
	}
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Interval < MinInterval || cfg.Interval > MaxInterval {
		errs = append(errs, fmt.Errorf("%w: Interval %v: use %v to %v, or 0 for %v",
			registry.ErrInvalid, cfg.Interval, MinInterval, MaxInterval, DefaultInterval))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	meter, err := NewMeter(cfg.Meter)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return &Monitor{cfg: cfg, meter: meter}, nil
}

// Load is the load by the last sample. It is zero before Run has taken the first.
func (m *Monitor) Load() registry.Load { return m.meter.Load() }

// Err is what the source said with the last sample; nil if all that it knows how to measure was measured.
func (m *Monitor) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Run takes a sample at once and then regularly until the context ends, and returns nil then. A source that fails is no reason to end:
// what is unknown is missing from the load.
func (m *Monitor) Run(ctx context.Context) error {
	ticker := time.NewTicker(m.cfg.Interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		m.look(ctx)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return nil
}

func (m *Monitor) look(ctx context.Context) {
	sample, err := m.cfg.Source(ctx)
	if ctx.Err() != nil {
		return
	}
	if sample.At.IsZero() {
		sample.At = time.Now()
	}
	m.note(ctx, err)
	before := scalingOf(m.meter.Load())
	l := m.meter.Add(sample)
	now := scalingOf(l)
	if now == before {
		return
	}
	m.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "the load calls for another number of nodes", attrs(before, l)...)
	if m.cfg.OnScaling != nil {
		m.cfg.OnScaling(ctx, before, now, l)
	}
}

// note logs an error that is another one than that before.
func (m *Monitor) note(ctx context.Context, err error) {
	m.mu.Lock()
	before := m.err
	m.err = err
	m.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		m.cfg.Logger.WarnContext(ctx, "some of the load cannot be measured", "error", err)
	case err == nil && before != nil:
		m.cfg.Logger.InfoContext(ctx, "all of the load can be measured again")
	}
}

func scalingOf(l registry.Load) registry.Scaling {
	if l.Scaling == "" {
		return registry.Steady
	}
	return l.Scaling
}

// attrs are what a log says of a change of the signal.
func attrs(before registry.Scaling, l registry.Load) []slog.Attr {
	all := []slog.Attr{slog.String("scaling", string(l.Scaling)), slog.String("before", string(before)), slog.Float64("score", l.Score)}
	for _, f := range Fractions(l) {
		all = append(all, slog.Float64(f.Name, f.Value))
	}
	return all
}

// Fraction is one of a load, by the name that JSON has for it.
type Fraction struct {
	Name  string
	Value float64
}

// Fractions are those of a load that are known, in the order of its fields.
func Fractions(l registry.Load) []Fraction {
	var all []Fraction
	for _, f := range []struct {
		name  string
		value *float64
	}{{"cpu", l.CPU}, {"memory", l.Memory}, {"conntrack", l.Conntrack}, {"uplink", l.Uplink}, {"peers", l.Peers}} {
		if f.value != nil {
			all = append(all, Fraction{f.name, *f.value})
		}
	}
	return all
}
