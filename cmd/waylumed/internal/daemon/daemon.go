package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/cmd/waylumed/internal/allowlist"
	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/privilege"
	"github.com/waylume/waylume/cmd/waylumed/internal/service"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
	"github.com/waylume/waylume/wgnode/httpapi/tracing"
	"github.com/waylume/waylume/wgnode/userspace"
)

// Options are what Run has of the world around it.
type Options struct {
	Config *config.Loaded
	// Reload reads the configuration anew: what the daemon runs with then, and what that changes.
	Reload func(*config.Loaded) (*config.Loaded, []config.Change, error)
	// Hangup asks for a reload (SIGHUP).
	Hangup <-chan os.Signal
	// AcceptNewKey goes on with another private key than peers know.
	AcceptNewKey bool
	Version      string
	Log          Log
	// Drop gives up privileges once all is open; nil: they are kept.
	Drop func(privilege.Need) (privilege.Left, error)

	dial userspace.DialFunc // for tests: where peers' flows go through the userspace dataplane; nil: out
}

// Log is where the daemon says what it does.
type Log struct {
	Logger *slog.Logger
	// Reload has the log be as the configuration says.
	Reload func(config.Log) error
	// Addr is an address as the log would have it.
	Addr func(netip.Addr) string
}

// daemon is a node with all that is around it.
type daemon struct {
	Options
	log       *slog.Logger
	loaded    atomic.Pointer[config.Loaded]
	service   *service.Supervisor
	reloading sync.Mutex
	traces    *tracing.Tracing
	choice    host.Choice
	store     *metrics.Store
	node      *wgnode.Node
	api       *api
	allow     *allowlist.List // nil: none
	allowed   *allowed
	fleet     *fleetTask // nil: none
	endpoint  string     // where clients reach the node
	ends      []func() error
}

// Run runs a node until the context ends, which is no error, or the node or what serves it fails. It has come to its end in order
// when it returns: requests were answered, usage is stored, and the dataplane is closed, or left running if so configured.
func Run(ctx context.Context, opts Options) (err error) {
	d := &daemon{Options: opts, log: opts.Log.Logger}
	d.loaded.Store(opts.Config)
	if d.service, err = service.New(d.log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.openTraces(ctx); err != nil {
		return err
	}
	if err := d.openNode(ctx); err != nil {
		return err
	}
	servers, err := d.openServers(ctx)
	if err != nil {
		return err
	}
	if err := d.startNode(ctx); err != nil {
		return err
	}
	if err := d.dropPrivileges(); err != nil {
		return err
	}
	return d.serve(ctx, servers)
}

// config is the one in force.
func (d *daemon) config() config.Config { return d.loaded.Load().Config }

// openTraces has traces be sent, if they go anywhere.
func (d *daemon) openTraces(ctx context.Context) (err error) {
	cfg := d.config()
	d.traces, err = tracing.Setup(ctx, tracing.Options{
		Endpoint: cfg.Tracing.Endpoint, Headers: cfg.Tracing.HeaderValues(), Ratio: cfg.Tracing.SampleRatio, Version: d.Version,
		Instance: cfg.Node.Name, Redaction: cfg.Log.Redaction, Logger: d.log,
	})
	if err != nil {
		return err
	}
	d.atEnd(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		return d.traces.Shutdown(ctx)
	})
	return nil
}

// dropPrivileges gives up what the daemon needs no more.
func (d *daemon) dropPrivileges() error {
	if d.Drop == nil {
		return nil
	}
	port := d.config().Node.ListenPort // 0: any that is free, which is none of the low
	left, err := d.Drop(privilege.Need{ChangeNetwork: d.choice.Kernel, LowPorts: port != 0 && port < firstFreePort})
	if err != nil {
		return err
	}
	d.log.Info("gave up privileges", "left", left.String())
	return writable(d.config().Node.State)
}

// writable sees to it that the state is the process's own: what root may do to the files of others is given up by now, and
// to begin a new file of a log would fail, in days.
func writable(dir string) error {
	file, err := os.CreateTemp(dir, ".writable-*")
	if err == nil {
		err = errors.Join(file.Close(), os.Remove(file.Name()))
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w\nThe state in %s is another user's, and root's privilege to write there was given up: "+
			"run waylumed as that user, or make the directory and all in it this user's with chown", err, dir)
	}
	return err
}

// firstFreePort is the first that needs no privilege to be opened, unless the system says otherwise.
const firstFreePort = 1024

// serve answers requests, looks after all, and in the end has it end in order.
func (d *daemon) serve(ctx context.Context, servers *servers) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, work := errgroup.WithContext(work)
	group.Go(func() error { return d.nodeEnds(work) })
	if err := servers.serve(ctx, work, group); err != nil {
		stop()
		if ctx.Err() != nil {
			err = nil // it was told to end before it had begun
		}
		return errors.Join(err, group.Wait())
	}
	group.Go(func() error {
		if d.config().Run.Watchdog {
			d.service.Watch(work, d.well)
		}
		return nil
	})
	if d.fleet != nil {
		group.Go(func() error {
			d.fleet.run(work)
			return nil
		})
	}
	d.service.Ready(d.inWords())
	reason := d.untilEnd(ctx, work)
	d.service.Stopping(d.config().Run.DrainTimeout + closeTime)
	d.log.Info("coming to an end", "reason", reason)
	err := servers.drain(d.config().Run.DrainTimeout)
	d.fleet.farewell(work)
	stop()
	return errors.Join(group.Wait(), err)
}

// closeTime is how much longer than requests a node takes to close, at most, as far as a supervisor is told.
const closeTime = 30 * time.Second

// untilEnd reloads whenever that is asked for, until the daemon is to end, and says why.
func (d *daemon) untilEnd(ctx, work context.Context) (reason string) {
	for {
		select {
		case <-ctx.Done():
			return "asked to"
		case <-work.Done():
			return "something that cannot be done without has failed"
		case <-d.Hangup:
			d.service.Reloading()
			d.reloadBySignal(work)
			d.service.Ready(d.inWords())
		}
	}
}

// nodeEnds returns when the node does so by itself.
func (d *daemon) nodeEnds(work context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- d.node.Wait() }()
	select {
	case <-work.Done():
		return nil
	case err := <-ended:
		if err == nil {
			return nil
		}
		return fmt.Errorf("the node has failed: %w", err)
	}
}

// well reports that the node answers.
func (d *daemon) well(ctx context.Context) error {
	_, err := d.node.Status(ctx)
	return err
}

// inWords is how the daemon is, for its supervisor.
func (d *daemon) inWords() string {
	totals := d.node.Totals()
	return fmt.Sprintf("%d peers active, dataplane: %s", totals.Active, d.choice.About)
}
