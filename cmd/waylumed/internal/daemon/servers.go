package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/cmd/waylumed/internal/allowlist"
	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/cmd/waylumed/internal/service"
	"github.com/waylume/waylume/wgnode/httpapi/auth/guard"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

// servers are what others reach the daemon by.
type servers struct {
	d         *daemon
	api       *api
	server    *http.Server
	listeners []net.Listener
	admin     *http.Server // nil: none
	adminAt   net.Listener
}

// Names of sockets that a supervisor has opened (FileDescriptorName=). Whatever has another name is the API's.
const adminSocket = "admin"

// openServers opens all sockets, so that nothing is missing once the node runs. Nothing is served yet.
func (d *daemon) openServers(ctx context.Context) (*servers, error) {
	cfg := d.config()
	s := &servers{d: d}
	var err error
	if s.api, err = d.openAPI(ctx); err != nil {
		return nil, err
	}
	d.api = s.api
	d.allowed = newAllowed(d.choice.Dataplane, cfg.Kernel().ControlPorts, cfg.Node.ControlAllow)
	if cfg.Allowlist.Set() {
		s.d.allow = allowlist.New(allowlist.Config{
			File: cfg.Allowlist.File, URL: cfg.Allowlist.URL, Refresh: cfg.Allowlist.Refresh, Apply: d.allowed.list, Logger: d.log,
			Last: filepath.Join(cfg.Node.State, "allowlist"),
		})
	}
	limits := cfg.API.Limits
	s.server = guard.NewServer(s.api, guard.ServerConfig{
		HeaderTimeout: limits.HeaderTime, ReadTimeout: limits.RequestTime, WriteTimeout: 2 * limits.RequestTime, IdleTimeout: limits.IdleTime,
		MaxHeaderBytes: int(limits.Header), Logger: d.log,
	})
	d.atEnd(func() error { return s.close() })
	if err := s.openListeners(cfg); err != nil {
		return nil, err
	}
	return s, s.openAdmin(cfg)
}

// openListeners takes the sockets that a supervisor has opened, and opens those of the configuration that are not among them.
func (s *servers) openListeners(cfg config.Config) error {
	inherited, err := service.Listeners()
	if err != nil {
		return err
	}
	var taken []net.Addr
	var errs []error
	for name, all := range inherited {
		for _, l := range all {
			err := checkInherited(cfg, name, l.Addr())
			switch {
			case err == nil && name == adminSocket && s.adminAt != nil:
				err = fmt.Errorf("the supervisor has opened two sockets of the name %s: give one", adminSocket)
			case err == nil && name == adminSocket:
				s.adminAt = l
				continue
			case err == nil:
				taken = append(taken, l.Addr())
				err = s.add(l, ofLoopback(l.Addr()))
			default:
				err = errors.Join(err, l.Close())
			}
			errs = append(errs, err)
		}
	}
	for _, address := range cfg.API.Listen {
		if slices.ContainsFunc(taken, func(addr net.Addr) bool { return same(address, addr) }) {
			continue
		}
		l, err := listen(address, cfg.API.Socket.Mode)
		if err == nil {
			err = s.add(l, address.Loopback())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// add puts around a socket of the API's what every connection goes through.
func (s *servers) add(l net.Listener, loopback bool) error {
	cfg := s.d.config().API
	bounded, err := guard.Listen(l, guard.ListenerConfig{
		Max: cfg.Limits.Connections, MaxPerSource: cfg.Limits.ConnectionsPerSource, Exempt: cfg.TrustedProxies,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	l = bounded
	if _, isTCP := l.Addr().(*net.TCPAddr); isTCP {
		if s.d.allow != nil && !loopback {
			l = s.d.allow.Listener(l)
		}
		if s.api.certs != nil {
			l = tls.NewListener(l, s.api.certs.TLSConfig())
		}
	}
	s.listeners = append(s.listeners, l)
	return nil
}

// maxAdmin is how many connections there may be to the listener of metrics: few scrape it.
const maxAdmin = 64

func (s *servers) openAdmin(cfg config.Config) (err error) {
	if s.adminAt == nil && cfg.Admin.Listen.Network != "" {
		if s.adminAt, err = listen(cfg.Admin.Listen, cfg.API.Socket.Mode); err != nil {
			return err
		}
	}
	if s.adminAt == nil {
		return nil
	}
	if s.adminAt, err = guard.Listen(s.adminAt, guard.ListenerConfig{Max: maxAdmin}); err != nil {
		return err
	}
	opts := metrics.Options{Version: s.d.Version, PerPeer: cfg.Admin.PeerSeries, Redaction: cfg.Log.Redaction}
	collector, err := metrics.NewCollector(s.d.node, opts)
	if err != nil {
		return err
	}
	collectors := []prometheus.Collector{collector, s.api.metrics, s.d.store, metrics.NewCertificate(s.certificateEnds)}
	if s.d.fleet != nil {
		collectors = append(collectors, metrics.NewFleet(s.d.fleet.metrics), metrics.NewLoad(s.d.fleet.load.Load))
	}
	registry, err := metrics.NewRegistry(collectors...)
	if err != nil {
		return err
	}
	handler, err := metrics.AdminHandler(metrics.AdminOptions{
		Gatherer: registry, Node: s.d.node, Options: opts, Profiling: cfg.Admin.Pprof, Logger: s.d.log,
	})
	if err != nil {
		return err
	}
	s.admin = guard.NewServer(handler, guard.ServerConfig{WriteTimeout: 2 * time.Minute, Logger: s.d.log}) // a profile takes its time
	return nil
}

func (s *servers) certificateEnds() time.Time {
	if s.api.certs == nil {
		return time.Time{}
	}
	return s.api.certs.Leaf().NotAfter
}

// serve answers requests, and does what recurs, in goroutines of a group, until the work ends.
// The context ends the wait for the allowlist.
func (s *servers) serve(ctx, work context.Context, group *errgroup.Group) error {
	if s.d.allow != nil {
		if err := s.d.allow.Load(ctx); err != nil {
			return err
		}
		group.Go(func() error {
			s.d.allow.Run(work)
			return nil
		})
	}
	group.Go(func() error { return unlessEnded(work, s.api.keys.Run(work)) })
	if s.api.audit != nil {
		group.Go(func() error {
			s.d.recordIntrusions(work)
			return nil
		})
	}
	for _, l := range s.listeners {
		group.Go(func() error { return served(s.server.Serve(l)) })
		s.d.log.Info("the API is served", servedAt, addressOf(l))
	}
	if s.admin != nil {
		group.Go(func() error { return served(s.admin.Serve(s.adminAt)) })
		s.d.log.Info("metrics are served", servedAt, addressOf(s.adminAt))
	}
	return nil
}

func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// drain takes no more peers and no more connections, and answers the requests that are under way, as long as there is time.
func (s *servers) drain(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := s.api.routes.SetDraining(drainFor(ctx, byEnd), true); err != nil {
		s.d.log.Warn("peers are still being created", "error", err)
	}
	s.api.events.Close()
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.d.log.Warn("some requests were not answered in time, and were cut off", "within", within)
		err = nil
	}
	return errors.Join(err, s.close())
}

// close closes all sockets, and cuts off what is under way.
func (s *servers) close() error {
	errs := []error{s.server.Close()}
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	for _, l := range append(slices.Clone(s.listeners), s.adminAt) {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func addressOf(l net.Listener) string { return l.Addr().Network() + ":" + l.Addr().String() }
