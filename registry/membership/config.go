package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/waylume/waylume/registry"
)

// Defaults and bounds of a Config.
const (
	DefaultUsagePeriod = time.Minute
	DefaultTimeout     = 10 * time.Second

	MinInterval    = time.Second
	MaxInterval    = 5 * time.Minute
	MinUsagePeriod = time.Second
	MaxUsagePeriod = 24 * time.Hour
	MinTimeout     = 100 * time.Millisecond
	MaxTimeout     = time.Minute
)

// Config is what a [Member] needs.
type Config struct {
	// Registry is the fleet. Required.
	Registry registry.Registry
	// Node is asked how it is, and told what to release. Required.
	Node Node
	// Usage is reported to the fleet. Nil: nothing is.
	Usage UsageSource
	// StateFile keeps what must outlive the process, in a directory that is there. Required; one process has it at a time.
	StateFile string
	// Interval is the time between heartbeats, MinInterval to MaxInterval, unless the registry wants another within these
	// bounds. 0: registry.DefaultInterval.
	Interval time.Duration
	// UsagePeriod is the time between looks for usage to report, MinUsagePeriod to MaxUsagePeriod. 0: DefaultUsagePeriod.
	UsagePeriod time.Duration
	// Timeout is how long one call of the Registry may take, and one of the Node but Release: MinTimeout to MaxTimeout. 0: DefaultTimeout.
	Timeout time.Duration
	// Logger gets what happens. Nil: nothing is logged.
	Logger *slog.Logger
	// OnDraining is told what whoever runs the fleet wants: with the first answer after a start, and whenever it
	// changes. After an error it is told again. It must not answer with SetDraining, which is for what the node itself
	// wants. Nil: nobody is told, and State says it.
	OnDraining func(ctx context.Context, draining bool) error
}

// validate names all that is wrong with a Config, and fills in defaults.
func (c *Config) validate() error {
	var errs []error
	if c.Registry == nil {
		errs = append(errs, errors.New("Registry is required"))
	}
	if c.Node == nil {
		errs = append(errs, errors.New("Node is required"))
	}
	if c.StateFile == "" {
		errs = append(errs, errors.New("StateFile is required"))
	}
	for _, d := range []struct {
		name          string
		value         *time.Duration
		def, min, max time.Duration
	}{
		{"Interval", &c.Interval, registry.DefaultInterval, MinInterval, MaxInterval},
		{"UsagePeriod", &c.UsagePeriod, DefaultUsagePeriod, MinUsagePeriod, MaxUsagePeriod},
		{"Timeout", &c.Timeout, DefaultTimeout, MinTimeout, MaxTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < d.min || *d.value > d.max {
			errs = append(errs, fmt.Errorf("%s is %s, and must be %s to %s", d.name, *d.value, d.min, d.max))
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(errs) > 0 {
		return fmt.Errorf("membership: %w: %w", registry.ErrInvalid, errors.Join(errs...))
	}
	return nil
}
