package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// NewRegistry returns a registry with some collectors, the Go runtime's and the process's.
func NewRegistry(some ...prometheus.Collector) (*prometheus.Registry, error) {
	registry := prometheus.NewPedanticRegistry()
	some = append(some, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range some {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return registry, nil
}

// AdminOptions say what an admin handler serves.
type AdminOptions struct {
	// Gatherer is what /metrics tells. Required.
	Gatherer prometheus.Gatherer
	// Node is whose peers /metrics/peers tells of. Nil: there is no such path.
	Node Node
	// Options are those of the collector: MaxPeers and Redaction hold for /metrics/peers.
	Options Options
	// Profiling serves /debug/pprof/: whoever may ask sees what the process does, and can slow it down.
	Profiling bool
	// Logger is told of what could not be gathered. Nil: nobody is.
	Logger *slog.Logger
}

// maxScrapes is how many requests are answered at one time; more are refused with 503. scrapeTimeout bounds each.
const (
	maxScrapes    = 8
	scrapeTimeout = 30 * time.Second
)

// AdminHandler serves /metrics, as text or OpenMetrics; /metrics/peers, with ?limit= for less than Options.MaxPeers; /debug/pprof/ if
// it is told to; and nothing else. It asks nobody who they are: give it a listener of its own that only those reach who may.
func AdminHandler(opts AdminOptions) (http.Handler, error) {
	if opts.Gatherer == nil {
		return nil, fmt.Errorf("metrics: AdminOptions.Gatherer is required: what NewRegistry returns")
	}
	options, err := opts.Options.withDefaults()
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", exposition(opts.Gatherer, opts.Logger))
	if opts.Node != nil {
		mux.Handle("GET /metrics/peers", peersHandler(opts.Node, options, opts.Logger))
	}
	if opts.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // with what is too long for a URL
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if _, pattern := mux.Handler(r); pattern == "" {
			refuse(w, r, mux)
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

// refuse answers what there is no route for.
func refuse(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	asked := *r
	asked.Method = http.MethodGet
	if _, pattern := mux.Handler(&asked); pattern != "" {
		w.Header().Set("Allow", "GET, HEAD")
		problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed, "use GET").Write(w)
		return
	}
	problem.New(http.StatusNotFound, problem.NotFound, "there is no such path here: /metrics is one").Write(w)
}

// exposition serves what a gatherer tells. What part cannot be gathered is left out, and logged.
func exposition(g prometheus.Gatherer, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorLog: errorLog{log}, ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	})
}

func peersHandler(node Node, opts Options, log *slog.Logger) http.Handler {
	scrapes := make(chan struct{}, maxScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case scrapes <- struct{}{}:
			defer func() { <-scrapes }()
		default:
			problem.New(http.StatusServiceUnavailable, problem.Unavailable, "too many requests at one time: ask again later").Write(w)
			return
		}
		most := opts.MaxPeers
		if text := r.URL.Query().Get("limit"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > opts.MaxPeers {
				problem.New(http.StatusUnprocessableEntity, problem.Invalid, "", problem.Fault{
					Location: "query.limit", Message: fmt.Sprintf("give how many peers at most: 1 to %d", opts.MaxPeers),
				}).Write(w)
				return
			}
			most = n
		}
		registry := prometheus.NewRegistry()
		if err := registry.Register(newPeerCollector(node, opts, most)); err != nil {
			problem.New(http.StatusInternalServerError, problem.Internal, "").Because(err).Write(w)
			log.Error("metrics of peers not collected", "error", err)
			return
		}
		exposition(registry, log).ServeHTTP(w, r)
	})
}

// errorLog is how promhttp logs.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Println(v ...any) { l.log.Error("metrics not gathered", "error", fmt.Sprint(v...)) }
