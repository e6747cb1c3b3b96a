package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/load"
	"github.com/waylume/waylume/registry/load/hostload"
	"github.com/waylume/waylume/registry/postgres"
	"github.com/waylume/waylume/registry/supabase"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/fleet"
)

// Files of the fleet in the node's directory, beside the credential.
const (
	fenceFile       = "fleet-released.json"
	memberFile      = "fleet-member.json"
	controlKeysFile = "fleet-keys.json"
)

const (
	// farewellTime is how long an end waits for the fleet to be told of it.
	farewellTime = 3 * time.Second
	// joinDelay and joinDelayMost are how long the daemon waits before it tries again to enroll.
	joinDelay     = 2 * time.Second
	joinDelayMost = 5 * time.Minute
)

// fleetTask keeps the node in its fleet. Nothing of it ends the daemon, nor makes the node unready.
type fleetTask struct {
	d     *daemon
	fence *fleet.Fence
	load  *load.Monitor

	mu     sync.Mutex
	member *fleet.Fleet // nil: the registry is not open yet
	asked  registry.Registry
	// draining is whether the node takes no more peers; byFleet: only since the fleet wants that, and not whoever runs the node.
	draining, byFleet bool
}

// openFleet opens what the node needs of its fleet from the beginning, if it is in one.
func (d *daemon) openFleet(node *wgnode.Config) (err error) {
	cfg := d.config()
	if !cfg.Fleet.Set() {
		return nil
	}
	t := &fleetTask{d: d}
	if t.fence, err = fleet.OpenFence(fleet.FenceConfig{File: filepath.Join(cfg.Node.State, fenceFile), Logger: d.log}); err != nil {
		return err
	}
	node.Admit = t.fence.Admit
	uplink := hostload.Config{Uplink: cfg.Node.Uplink}
	if cfg.Fleet.CapacityRate != shaping.Unlimited {
		uplink.Capacity = int64(cfg.Fleet.CapacityRate)
	}
	host, err := hostload.New(uplink)
	if err != nil {
		return err
	}
	t.load, err = load.NewMonitor(load.MonitorConfig{Logger: d.log, Source: func(ctx context.Context) (load.Sample, error) {
		sample, err := host.Sample(ctx)
		status := d.node.Totals()
		sample.Peers = load.Fill{
			Used: uint64(status.Active), Of: uint64(cfg.Fleet.CapacityPeers), //nolint:gosec // neither is negative
		}
		return sample, err
	}})
	if err != nil {
		return err
	}
	d.fleet = t
	return nil
}

// run keeps the node in the fleet until the context ends.
func (t *fleetTask) run(ctx context.Context) {
	var monitor sync.WaitGroup
	defer monitor.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	monitor.Go(func() {
		if err := t.load.Run(ctx); err != nil {
			t.d.log.Error("the load is not measured any more", "error", err)
		}
	})
	member, closer := t.join(ctx)
	if member == nil {
		return
	}
	defer func() {
		if err := closer.Close(); err != nil {
			t.d.log.Warn("the way to the fleet was not closed", "error", err)
		}
	}()
	if err := member.Run(ctx); err != nil {
		t.d.log.Error("the node is not in its fleet; it serves its peers as before", "error", err)
	}
}

// join opens the way to the fleet, enrolling the node if it has to be, however often that takes. Nil: the context has ended.
func (t *fleetTask) join(ctx context.Context) (*fleet.Fleet, io.Closer) {
	for delay := joinDelay; ; delay = min(2*delay, joinDelayMost) {
		member, closer, err := t.open(ctx)
		if err == nil {
			return member, closer
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		wait := delay/2 + rand.N(delay)
		if errors.Is(err, registry.ErrUnavailable) {
			t.d.log.Warn("the fleet cannot be reached; it is tried again", "error", err, "wait", wait.Round(time.Second))
		} else {
			t.d.log.Error("the node cannot join its fleet; it is tried again", "error", err, "wait", wait.Round(time.Second))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// open opens the way to the fleet once.
func (t *fleetTask) open(ctx context.Context) (*fleet.Fleet, io.Closer, error) {
	cfg := t.d.config()
	registration, err := t.registration(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	asked, closer, err := t.way(ctx, cfg, registration)
	if err != nil {
		return nil, nil, err
	}
	member, err := fleet.New(fleet.Config{
		Node: t.d.node, Fence: t.fence, Registry: asked, Registration: registration,
		StateFile: filepath.Join(cfg.Node.State, memberFile), Load: t.load.Load,
		Interval: cfg.Fleet.Heartbeat, UsagePeriod: cfg.Fleet.UsagePeriod, NoUsage: !cfg.Fleet.Usage || cfg.Node.UsageLog == 0,
		OnDraining: t.wanted, Logger: t.d.log,
	})
	if err != nil {
		return nil, nil, errors.Join(err, closer.Close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.member, t.asked = member, asked
	member.SetDraining(t.draining && !t.byFleet)
	return member, closer, nil
}

// way is how the fleet is asked.
func (t *fleetTask) way(ctx context.Context, cfg config.Config, r registry.Registration) (registry.Registry, io.Closer, error) {
	if len(cfg.Fleet.URLs) == 0 {
		database, err := postgres.New(postgres.Config{
			DSN: cfg.Fleet.Database.Reveal(), ApplicationName: "waylumed", MaxConns: 2, Logger: t.d.log,
		})
		return database, database, err
	}
	way := supabase.Config{
		CredentialFile: cfg.Fleet.CredentialFile, ControlKeysFile: filepath.Join(cfg.Node.State, controlKeysFile),
		OnControlKeys: t.trusted, URLs: cfg.Fleet.URLs, Pins: cfg.Fleet.Pins, UserAgent: "waylumed/" + t.d.Version, Logger: t.d.log,
	}
	client, err := supabase.Open(way)
	if !errors.Is(err, supabase.ErrNotEnrolled) {
		return client, client, err
	}
	token := cfg.Fleet.Token.Reveal()
	if token == "" {
		return nil, nil, fmt.Errorf("%w\nGive the enrollment token in fleet.token_file, and start again", err)
	}
	status, err := t.d.node.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.PublicKey = registry.Key(status.PublicKey)
	registered, err := supabase.Enroll(ctx, supabase.EnrollConfig{Config: way, Token: token, Registration: r})
	if err != nil {
		return nil, nil, err
	}
	t.d.log.Info("the node was enrolled in the fleet: the token is used up", "server", registered.Server, "name", r.Name)
	client, err = supabase.Open(way)
	return client, client, err
}
