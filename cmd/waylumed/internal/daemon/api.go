package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/guard"
	"github.com/waylume/waylume/wgnode/httpapi/auth/mtls"
	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency/boltkeys"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
	"github.com/waylume/waylume/wgnode/httpapi/privacy"
)

// api is what answers requests, with all that stands around the routes.
type api struct {
	routes     *httpapi.API
	auth       *auth.Authenticator
	certs      *mtls.Certificates // nil: no TLS
	audit      *audit.Log         // nil: none
	keys       *idempotency.Keys
	events     *eventstream.Handler
	metrics    *metrics.HTTP
	sources    *source.Resolver
	intrusions intrusions
	handler    atomic.Pointer[http.Handler] // as the configuration in force has it
}

// openAPI makes the API of the node.
func (d *daemon) openAPI(ctx context.Context) (_ *api, err error) {
	cfg := d.config()
	a := &api{intrusions: make(intrusions, maxIntrusions)}
	if a.sources, err = source.New(source.XForwardedFor, cfg.API.TrustedProxies...); err != nil {
		return nil, err
	}
	if cfg.API.TLS.CertFile != "" {
		a.certs, err = mtls.New(mtls.Config{
			CertFile: cfg.API.TLS.CertFile, KeyFile: cfg.API.TLS.KeyFile, ClientCAFile: cfg.API.TLS.ClientCAFile, Logger: d.log,
		})
		if err != nil {
			return nil, err
		}
	}
	a.routes, err = httpapi.New(httpapi.Config{
		Node: d.node, Logger: d.log, Version: d.Version, OnDrain: d.onDrain, BodyTimeout: cfg.API.Limits.RequestTime,
	})
	if err != nil {
		return nil, err
	}
	if a.events, err = eventstream.New(eventstream.Config{Node: d.node, Logger: d.log}); err != nil {
		return nil, err
	}
	d.mount(a)
	a.metrics = metrics.NewHTTP(metrics.HTTPOptions{Pattern: a.routes.Pattern, AuthReasons: reasons()})
	if err := d.openAuth(a, cfg); err != nil {
		return nil, err
	}
	if err := d.openAudit(a, cfg); err != nil {
		return nil, err
	}
	if err := d.openKeys(ctx, a, cfg); err != nil {
		return nil, err
	}
	return a, d.recompose(a, cfg)
}

// ServeHTTP answers a request as the configuration in force has it.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*a.handler.Load()).ServeHTTP(w, r) }

// recompose puts around the routes what a configuration says.
func (d *daemon) recompose(a *api, cfg config.Config) error {
	handler, err := d.compose(a, cfg)
	if err == nil {
		a.handler.Store(&handler)
	}
	return err
}

// mount adds what is about the program, not the node.
func (d *daemon) mount(a *api) {
	a.routes.Mount(huma.Operation{
		OperationID: "stream-events", Method: http.MethodGet, Path: httpapi.Prefix + "/events", Tags: []string{"node"},
		Summary:     "What happens, as it happens",
		Description: "Server-sent events; docs/events.md has their fields. Last-Event-ID goes on where a stream ended.",
	}, auth.PeersRead, a.events)
	a.routes.Mount(huma.Operation{
		OperationID: "reload", Method: http.MethodPost, Path: httpapi.Prefix + "/node/reload", Tags: []string{"node"},
		Summary:     "Read the configuration anew",
		Description: "What can be changed while the program runs is; what cannot is named. If anything is wrong nothing is changed.",
	}, auth.NodeAdmin, http.HandlerFunc(d.answerReload))
	a.routes.Mount(huma.Operation{
		OperationID: "get-privacy", Method: http.MethodGet, Path: httpapi.Prefix + "/privacy", Tags: []string{"node"},
		Summary:     "What is kept of customers",
		Description: "What it is, why, where and for how long, from the settings in force.",
	}, "", privacy.Handler(d.privacy))
	d.mountFleet(a)
}

func (d *daemon) openAuth(a *api, cfg config.Config) error {
	c := auth.Config{
		Skew: skew(cfg.API.Auth.ClockSkew), UsedTokens: filepath.Join(cfg.Node.State, "tokens"),
		MaxBody: int64(cfg.API.Limits.Body), Sources: a.sources, Logger: d.log,
		OnRefusal: func(reason auth.Reason) { a.metrics.AuthFailed(string(reason)) }, OnIntrusion: a.intrusions.signal,
	}
	if a.certs != nil {
		c.ClientCAs = a.certs.ClientCAs
	}
	if err := d.trusting(cfg, func(trusted auth.Trust) (err error) {
		c.Trust = trusted
		a.auth, err = auth.New(c)
		return err
	}); err != nil {
		return err
	}
	d.atEnd(a.auth.Close)
	a.auth.Start()
	return nil
}

func skew(d time.Duration) time.Duration {
	if d == 0 {
		return -1 // none, which 0 is not
	}
	return d
}

func (d *daemon) openAudit(a *api, cfg config.Config) (err error) {
	if cfg.Audit.File == "" {
		return nil
	}
	a.audit, err = audit.Open(cfg.Audit.File, audit.Options{
		Retention: cfg.Audit.Retention, Route: a.routes.Pattern, Logger: d.log,
		Source: func(r *http.Request) string { return d.from(a.sources.Of(r)) },
	})
	if err != nil {
		return err
	}
	for _, found := range a.audit.Found() {
		d.log.Warn("the audit log was not as it should be, and goes on", "found", found)
	}
	d.atEnd(a.audit.Close)
	return nil
}

// from is where a request came from, as the log would have it.
func (d *daemon) from(s source.Source) string {
	if !s.Addr.IsValid() {
		return s.String()
	}
	return d.Log.Addr(s.Addr)
}

func (d *daemon) openKeys(ctx context.Context, a *api, cfg config.Config) (err error) {
	var store idempotency.Store = idempotency.NewMemoryStore()
	if cfg.Node.Store == config.FileStore {
		file, err := boltkeys.Open(filepath.Join(cfg.Node.State, "requests.db"), boltkeys.Options{})
		if err != nil {
			return err
		}
		d.atEnd(file.Close)
		store = file
	}
	a.keys, err = idempotency.New(ctx, idempotency.Config{
		Store: store, Retention: cfg.Idempotency.Retention, MaxBody: int64(cfg.API.Limits.Body), Logger: d.log,
	})
	return err
}

// compose puts around the routes what every request goes through.
func (d *daemon) compose(a *api, cfg config.Config) (http.Handler, error) {
	perSource, err := guard.RateLimit(guard.RateConfig{
		Name: "source", By: guard.BySource(a.sources), PerSecond: cfg.API.Rate.PerSource, Burst: cfg.API.Rate.Burst,
	})
	if err != nil {
		return nil, err
	}
	// What everybody may ask has a limit of its own, so that no probe is refused for what else comes from its address.
	public, err := guard.RateLimit(guard.RateConfig{
		Name: "public", By: guard.BySource(a.sources), PerSecond: cfg.API.Rate.PerSource, Burst: cfg.API.Rate.Burst,
	})
	if err != nil {
		return nil, err
	}
	perKey, err := guard.RateLimit(guard.RateConfig{
		Name: "key", By: guard.ByPrincipal, PerSecond: cfg.API.Rate.PerKey, Burst: cfg.API.Rate.Burst,
	})
	if err != nil {
		return nil, err
	}
	var inner http.Handler = a.routes
	inner = a.replays(a.keys.Middleware(inner))
	if a.audit != nil {
		inner = a.audit.Middleware(inner)
	}
	inner = d.traces.Middleware(a.routes.Pattern)(inner)
	inner = a.auth.Middleware(perKey(inner))
	if a.audit != nil {
		inner = a.audit.Refusals(inner)
	}
	inner = perSource(inner)

	// No ServeMux: it would send those elsewhere whose path is not clean, whoever they are.
	open := map[string]http.Handler{"/livez": a.routes, "/readyz": public(a.routes)}
	if cfg.API.Docs {
		for _, path := range []string{"/openapi.json", "/openapi.yaml", "/docs"} {
			open[path] = public(anybody(a.routes))
		}
	}
	routed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler, ok := open[r.URL.Path]; ok {
			handler.ServeHTTP(w, r)
		} else {
			inner.ServeHTTP(w, r)
		}
	})
	return guard.RequestID(d.recovered(guard.Headers(a.metrics.Middleware(routed)))), nil
}

// replays counts the answers that were given before.
func (a *api) replays(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if w.Header().Get(idempotency.ReplayedHeader) != "" {
			a.metrics.Replayed()
		}
	})
}

// anybody has everybody count as recognised, with no scope: for what is no secret.
func anybody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), auth.Principal{Name: "anybody"})))
	})
}

// recovered has a fault in a handler end one request, and be told of.
func (d *daemon) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if err, ok := fault.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				d.log.ErrorContext(r.Context(), "a request was not answered: this is a fault of the program", "request",
					guard.RequestIDOf(r.Context()), "fault", fmt.Sprint(fault))
			}
			panic(http.ErrAbortHandler) // the server closes the connection: part of an answer may be out
		}()
		next.ServeHTTP(w, r)
	})
}
