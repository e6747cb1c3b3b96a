package eventstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// What a zero field of [Config] means.
const (
	DefaultMaxStreams   = 1024
	DefaultKeepAlive    = 15 * time.Second // as WHATWG HTML, section 9.2.7, advises, for proxies that close what is silent
	DefaultWriteTimeout = 10 * time.Second
	DefaultRetry        = 2 * time.Second
)

// Bounds of [Config] fields.
const (
	MinKeepAlive    = 10 * time.Millisecond
	MaxKeepAlive    = 10 * time.Minute
	MinWriteTimeout = 10 * time.Millisecond
	MaxRetry        = time.Hour
)

// Source has events. A [wgnode.Node] is one.
type Source interface {
	// Subscribe begins with the next event.
	Subscribe() *wgnode.Subscription
	// SubscribeAfter goes on after an event.
	SubscribeAfter(sequence uint64) *wgnode.Subscription
}

var _ Source = (*wgnode.Node)(nil)

// Config says how events are told.
type Config struct {
	Node Source
	// MaxStreams bounds how many streams there are at a time. 0: DefaultMaxStreams. More are refused with 503.
	MaxStreams int
	// KeepAlive is after how long a silence a stream says that it is there, MinKeepAlive to MaxKeepAlive. 0: DefaultKeepAlive.
	KeepAlive time.Duration
	// WriteTimeout is how long a reader may take for what it is sent at once, at most some 32 KiB; MinWriteTimeout or more. 0:
	// DefaultWriteTimeout.
	WriteTimeout time.Duration
	// Retry is how long clients are asked to wait before they connect again, 1 ms to MaxRetry. 0: DefaultRetry.
	Retry time.Duration
	// Logger gets what clients are not told. Nil: nobody.
	Logger *slog.Logger
}

// Handler serves streams.
type Handler struct {
	cfg     Config
	boot    string
	slots   chan struct{}
	closing context.Context //nolint:containedctx // it ends with Close
	close   context.CancelFunc

	mu      sync.Mutex
	current context.Context //nolint:containedctx // of the streams there are, it ends with Renew; guarded by mu
	renew   context.CancelFunc
}

// New returns a handler with a boot of its own: to go on after an event, a client has to ask the handler that told it.
func New(cfg Config) (*Handler, error) {
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = DefaultMaxStreams
	}
	for field, value := range map[*time.Duration]time.Duration{
		&cfg.KeepAlive: DefaultKeepAlive, &cfg.WriteTimeout: DefaultWriteTimeout, &cfg.Retry: DefaultRetry,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	wrong := func(broken bool, format string, args ...any) {
		if broken {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(cfg.Node == nil, "Node is nil: give a node")
	wrong(cfg.MaxStreams < 0, "MaxStreams is %d: give 1 or more", cfg.MaxStreams)
	wrong(cfg.KeepAlive < MinKeepAlive || cfg.KeepAlive > MaxKeepAlive, "KeepAlive is %s: give %s to %s", cfg.KeepAlive,
		MinKeepAlive, MaxKeepAlive)
	wrong(cfg.WriteTimeout < MinWriteTimeout, "WriteTimeout is %s: give %s or more", cfg.WriteTimeout, MinWriteTimeout)
	wrong(cfg.Retry < time.Millisecond || cfg.Retry > MaxRetry, "Retry is %s: give 1ms to %s", cfg.Retry, MaxRetry)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("eventstream: %w", err)
	}
	boot := make([]byte, 8)
	_, _ = rand.Read(boot) // it never fails
	h := &Handler{cfg: cfg, boot: hex.EncodeToString(boot), slots: make(chan struct{}, cfg.MaxStreams)}
	h.closing, h.close = context.WithCancel(context.Background())
	h.current, h.renew = context.WithCancel(h.closing)
	return h, nil
}

// Close ends all streams, and has new ones refused. It does not wait for them, and may be called more than once.
func (h *Handler) Close() { h.close() }

// Renew ends the streams there are and serves others: who may still read connects again, says anew who they are, and goes on from their
// place. It is for when it has changed who may.
func (h *Handler) Renew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renew()
	h.current, h.renew = context.WithCancel(h.closing)
}

// inForce is the context of streams that begin now.
func (h *Handler) inForce() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current
}

// Streams is how many there are.
func (h *Handler) Streams() int { return len(h.slots) }

// ServeHTTP serves one stream, until the client goes, the node closes, or the handler does.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed, "Events are read with GET.").Write(w)
		return
	}
	q, p := ask(r)
	if p == nil {
		p = h.admit()
	}
	if p != nil {
		if p.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		p.Write(w)
		return
	}
	defer func() { <-h.slots }()
	rc := http.NewResponseController(w)
	// What the server allows for a request and its answer is not for a stream.
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(h.cfg.WriteTimeout))); err != nil {
		h.cfg.Logger.Error("events cannot be streamed: what is between the server and this handler hides http.ResponseController",
			"error", err)
		problem.New(http.StatusInternalServerError, problem.Internal, "Events cannot be streamed here.").Because(err).Write(w)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(h.inForce(), func() {
		if h.closing.Err() != nil {
			cancel(errClosing)
		} else {
			cancel(errRenewed)
		}
	})()
	s := &stream{h: h, w: w, rc: rc, question: q}
	if err := s.serve(ctx); err != nil {
		h.cfg.Logger.Debug("a stream of events was cut off", "error", err)
	}
}

func (h *Handler) admit() *problem.Problem {
	if h.closing.Err() != nil {
		return problem.New(http.StatusServiceUnavailable, problem.Unavailable, "The server is closing: connect again later.")
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
		return problem.New(http.StatusServiceUnavailable, problem.Unavailable,
			fmt.Sprintf("There are %d streams of events already, which is all that are served: end some, or connect again later.",
				cap(h.slots)))
	}
}
