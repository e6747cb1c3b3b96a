package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/membership"
	"github.com/waylume/waylume/wgnode"
)

// Config says which node joins which fleet, and as what.
type Config struct {
	// Node is the node. Required. It is not closed here.
	Node *wgnode.Node
	// Fence is the one whose Admit is the node's. Required.
	Fence *Fence
	// Registry is the fleet. Required.
	Registry registry.Registry
	// Registration is what the node says of itself. PublicKey is the node's, whatever is here; Features are added to those that
	// the node is seen to have: the dataplane's name, and "ipv6" if peers have such addresses.
	Registration registry.Registration
	// StateFile keeps the place in the fleet across restarts, in a directory that is there. Required; one process has it at a time.
	StateFile string
	// Load is the node's latest load. Nil: it is not known.
	Load func() registry.Load
	// Interval, UsagePeriod and Timeout are as in [membership.Config]. 0: its defaults.
	Interval, UsagePeriod, Timeout time.Duration
	// NoUsage keeps what peers use from the fleet. A node without a usage log that can be followed reports none either.
	NoUsage bool
	// OnDraining is told whether whoever runs the fleet wants the node drained; see [membership.Config]. Nil: nobody is told.
	OnDraining func(ctx context.Context, draining bool) error
	// Logger receives what an operator should know. Nil: nothing is logged.
	Logger *slog.Logger
}

// Fleet is a node's membership. Its methods may be called from any goroutine.
type Fleet struct {
	*membership.Member
	node *wgnode.Node
}

// New joins the two. Nothing is asked before Run. Errors match [registry.ErrInvalid].
func New(cfg Config) (*Fleet, error) {
	var errs []error
	if cfg.Node == nil {
		errs = append(errs, errors.New("Node is required"))
	}
	if cfg.Fence == nil {
		errs = append(errs, errors.New("Fence is required"))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("fleet: %w: %w", registry.ErrInvalid, errors.Join(errs...))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Fence.guard(cfg.Node)
	m := membership.Config{
		Registry: cfg.Registry, Node: &member{cfg}, StateFile: cfg.StateFile, Interval: cfg.Interval,
		UsagePeriod: cfg.UsagePeriod, Timeout: cfg.Timeout, Logger: cfg.Logger, OnDraining: cfg.OnDraining,
	}
	if !cfg.NoUsage {
		m.Usage = usageOf{cfg.Node}
	}
	joined, err := membership.New(m)
	if err != nil {
		return nil, err
	}
	return &Fleet{joined, cfg.Node}, nil
}

// Run keeps the node in the fleet until the context ends. An outage is no error; see [membership.Member.Run]. A change of the
// node's health is told at once.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	events := f.node.Subscribe()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for e := range events.All(ctx) {
			if e.Kind == wgnode.ProblemBegan || e.Kind == wgnode.ProblemOver {
				f.Changed()
			}
		}
	}()
	err := f.Member.Run(ctx)
	stop()
	<-watched
	return err
}
