package doctor

import (
	"context"
	"errors"
	"os"
	"runtime"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// probes are the questions; tests answer them for other hosts.
type probes struct {
	host      func() (Host, error)
	supported func(context.Context) error
	features  func(context.Context) ([]kernel.Feature, error)
	firewalls func(context.Context) ([]kernel.Firewall, error)
	legacy    func() bool
}

// Examine asks the host that the process is on. The error is that of ctx, or one that leaves nothing to tell.
func Examine(ctx context.Context) (*Report, error) {
	return examine(ctx, probes{thisHost, kernel.Supported, kernel.Features, kernel.Firewalls, kernel.IPTablesLegacy})
}

func examine(ctx context.Context, p probes) (*Report, error) {
	host, err := p.host()
	if err != nil {
		return nil, err
	}
	r := &Report{Schema: Schema, Host: host, Features: []Feature{}, Firewalls: []Firewall{}, IPTablesLegacy: p.legacy()}
	// Before the rest: what that loads must not change the decision.
	supported := p.supported(ctx)
	features, err := p.features(ctx)
	if err != nil && !errors.Is(err, wgnode.ErrNotSupported) {
		return nil, err
	}
	for _, f := range features {
		r.Features = append(r.Features, featureOf(f))
	}
	firewalls, err := p.firewalls(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		r.FirewallsUnknown = err.Error()
	}
	for _, f := range firewalls {
		r.Firewalls = append(r.Firewalls, Firewall{
			Family: f.Family, Table: f.Table, Programs: append([]string{}, f.Programs...),
			DropsForwarded: f.Forward, DropsInput: f.Input, Locked: f.Locked,
		})
	}
	r.conclude(supported)
	return r, nil
}

func featureOf(f kernel.Feature) Feature {
	out := Feature{
		Name: f.Name, Answer: f.Answer(), Need: f.Need, Source: f.Source, Purpose: f.Purpose, Without: f.Without, Requires: f.Requires,
	}
	if f.Err != nil {
		out.Reason = f.Err.Error()
	}
	return out
}

// thisHost is the process's own.
func thisHost() (Host, error) {
	h := Host{OS: runtime.GOOS, Arch: runtime.GOARCH, UserID: os.Geteuid(), Capabilities: []string{}}
	return h, h.look()
}
