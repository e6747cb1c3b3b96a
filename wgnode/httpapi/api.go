package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Prefix is that of the paths of version 1 of the API.
const Prefix = "/api/v1"

// Bounds of the body of a request, in bytes. 10,000 peers come with up to 800 bytes each.
const (
	maxBody     = 64 << 10
	maxBulkBody = 8 << 20
)

// Config says what an API serves. Only Node is required.
type Config struct {
	// Node is what requests are about. It need not have been started: until it is, requests are answered with status 503. The API
	// does not start or close it.
	Node *wgnode.Node

	// Logger is told the reasons of answers with a status of 500 and more. Nil: nobody is.
	Logger *slog.Logger

	// Version is that of the program, for the document and for the node's status.
	Version string

	// BodyTimeout is how long the body of a request may take, from when its headers are there. 0: 30 s. It takes the place of the
	// server's ReadTimeout.
	BodyTimeout time.Duration

	// Draining is whether new peers are refused from the beginning.
	Draining bool

	// OnDrain is called before the node is drained or is to take new peers again, even if that is how it is, one call at a time; an
	// error keeps it as it was, and is the answer's reason. Nil: nothing more is done.
	OnDrain func(ctx context.Context, draining bool) error
}

// API is a handler of requests about a node. Its methods may be called from any goroutine, but for Mount.
type API struct {
	cfg  Config
	log  *slog.Logger
	mux  *http.ServeMux
	huma huma.API

	locks *locks

	mu       sync.Mutex
	draining bool

	document func() (documents, error)
}

// New returns an API. It touches nothing, and starts no goroutine.
func New(cfg Config) (*API, error) {
	if cfg.Node == nil {
		return nil, errors.New("httpapi: Config.Node is not set: give the node that the API is for")
	}
	if cfg.BodyTimeout <= 0 {
		cfg.BodyTimeout = 30 * time.Second
	}
	a := &API{cfg: cfg, log: cfg.Logger, mux: http.NewServeMux(), locks: newLocks(), draining: cfg.Draining}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.document = sync.OnceValues(a.render)
	format := huma.Format{
		Marshal:   func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
		Unmarshal: json.Unmarshal,
	}
	registry := newRegistry()
	a.huma = humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Waylume node", Version: cfg.Version, Description: description},
			Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer": {Type: "http", Scheme: "bearer", Description: "A token that gives the scopes that are named."},
				"mtls":   {Type: "mutualTLS", Description: "A certificate that gives the scopes that are named."},
			}},
		},
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{a.asProblem},
	})
	a.huma.UseMiddleware(a.authorize)
	a.addRoutes()
	a.mux.HandleFunc("/", a.unmatched)
	return a, nil
}

func (a *API) addRoutes() {
	a.addPeerRoutes()
	a.addPeerReadRoutes()
	a.addBulkRoutes()
	a.addAccountRoutes()
	a.addUsageRoutes()
	a.addNodeRoutes()
	a.addHealthRoutes()
	a.addLegacyRoutes()
	a.addDocumentRoutes()
}

// ServeHTTP answers a request. It expects that whoever makes it has been recognised, and is in the request's context as
// [auth.NewContext] puts them there; who is not gets status 401.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := r.URL.EscapedPath(); !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		a.unmatched(w, r) // rather than be sent elsewhere
		return
	}
	a.mux.ServeHTTP(w, r)
}

// Pattern returns the pattern of the route that a request is for, "GET /api/v1/peers/{id}"; empty: there is none.
func (a *API) Pattern(r *http.Request) string {
	if p := r.URL.EscapedPath(); !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		return ""
	}
	if _, pattern := a.mux.Handler(r); pattern != "/" {
		return pattern
	}
	return ""
}

// Draining reports whether new peers are refused.
func (a *API) Draining() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.draining
}

// SetDraining has new peers refused, or taken again. No peer is being created when it returns nil. Errors: those of ctx and of
// [Config].OnDrain.
func (a *API) SetDraining(ctx context.Context, on bool) error {
	release, err := a.locks.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	if a.cfg.OnDrain != nil {
		if err := a.cfg.OnDrain(ctx, on); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = on
	return nil
}

// unmatched answers a request that no route is for.
func (a *API) unmatched(w http.ResponseWriter, r *http.Request) {
	if _, ok := auth.FromContext(r.Context()); !ok {
		a.refuse(w, r, unauthenticated(w.Header()))
		return
	}
	var allowed []string
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		if _, pattern := a.mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 || path.Clean(r.URL.EscapedPath()) != r.URL.EscapedPath() {
		a.refuse(w, r, problem.New(http.StatusNotFound, problem.NotFound,
			"there is no such path: /openapi.json and /docs have those that there are"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	a.refuse(w, r, problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed, "use one of "+strings.Join(allowed, ", ")))
}
