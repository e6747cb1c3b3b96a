package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/waylume/waylume/wgnode/httpapi/auth/internal/failures"
	"github.com/waylume/waylume/wgnode/httpapi/auth/internal/replay"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Methods by which a principal is recognised.
const (
	MethodJWT    = "jwt"
	MethodMTLS   = "mtls"
	MethodUnix   = "unix"
	MethodBearer = "bearer"
)

// Authenticator recognises who makes requests. It may be used concurrently.
type Authenticator struct {
	cfg      Config
	floor    int64 // tokens that were issued in this second or before may have been used before the start
	used     *replay.Cache
	failures *failures.Tracker
	logs     *rate.Limiter
	unlogged atomic.Uint64
	stop     chan struct{} // closed by Close
	policy   atomic.Pointer[policy]
	counts   counts

	mu      sync.Mutex // of what follows, and of changes of policy
	started bool
	closed  bool
}

// New returns an Authenticator that trusts whom the configuration names. It reads files of keys, and opens the files of used
// tokens. All that is wrong with the configuration is in the error.
func New(cfg Config) (*Authenticator, error) {
	err := cfg.complete()
	p, readErr := cfg.Trust.read(&cfg, nil)
	if err := errors.Join(err, readErr); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	a := &Authenticator{cfg: cfg, logs: rate.NewLimiter(10, 10), stop: make(chan struct{})}
	f := cfg.Failures
	a.failures = failures.New(failures.Config{
		Threshold: f.Threshold, Quiet: f.Quiet, First: f.FirstDelay, Longest: f.LongestDelay,
		Waiting: f.MaxWaiting, PerSource: f.MaxWaitingPerSource, Sources: f.MaxSources,
	})
	if err := a.openUsed(); err != nil {
		return nil, fmt.Errorf("auth: used tokens: %w", err)
	}
	a.policy.Store(p)
	return a, nil
}

// openUsed finds out which tokens were used.
func (a *Authenticator) openUsed() error {
	now, skew := a.cfg.Now(), int64(a.cfg.Skew/time.Second)
	a.floor = now.Unix() + skew
	var journal *replay.Journal
	if a.cfg.UsedTokens != "" {
		boot, err := replay.BootID()
		if err != nil {
			return err
		}
		window := int64(sign.MaxLifetime/time.Second) + 2*skew
		if journal, err = replay.OpenJournal(a.cfg.UsedTokens, boot, window, now.Unix(), a.floor); err != nil {
			return err
		}
		a.floor = journal.Floor()
	}
	a.used = replay.New(a.cfg.MaxUsedTokens, journal, now)
	return nil
}

// Start begins to fetch the keys that come from URLs, and does not wait for them. A second Start changes nothing.
func (a *Authenticator) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.started = true
	for _, r := range a.policy.Load().remotes {
		r.Start()
	}
}

// Reload reads a Trust, and has it in the place of the former: whole, between one request and the next. Files are read anew; URLs
// that stay as they are keep the keys they have. If anything is wrong, all of it is in the error, and nothing changes.
func (a *Authenticator) Reload(t Trust) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errors.New("auth: closed")
	}
	former := a.policy.Load()
	p, err := t.read(&a.cfg, former)
	if err != nil {
		return fmt.Errorf("auth: %w", err)
	}
	if a.started {
		for _, r := range p.remotes {
			r.Start()
		}
	}
	a.policy.Store(p)
	for _, r := range former.remotes {
		if !p.has(r) {
			r.Close()
		}
	}
	return nil
}

// Close ends what Start began, answers those who wait, and closes the files. Every request is refused afterwards. A second
// Close does nothing.
func (a *Authenticator) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	close(a.stop)
	for _, r := range a.policy.Load().remotes {
		r.Close()
	}
	return a.used.Close()
}

// Middleware returns a handler that gives next the requests of those it recognises, with their [Principal] in the context and
// the body as it came, and answers the others itself.
func (a *Authenticator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		principal, body, refused := a.recognise(r)
		if refused != nil {
			a.refuse(w, r, refused)
			return
		}
		a.counts.accept(principal.Method)
		known := r.WithContext(NewContext(r.Context(), principal))
		if principal.Method == MethodJWT {
			known.Body = io.NopCloser(bytes.NewReader(body))
			known.ContentLength = int64(len(body))
		} else {
			known.Body = http.MaxBytesReader(w, r.Body, a.cfg.MaxBody)
		}
		next.ServeHTTP(w, known)
	})
}

// recognise finds out who makes a request. The body is that of one with a token, which has been read.
func (a *Authenticator) recognise(r *http.Request) (Principal, []byte, *refusal) {
	select {
	case <-a.stop:
		return Principal{}, nil, unavailable(Closed, "the node is closing: try another, or later", nil)
	default:
	}
	p := a.policy.Load()
	credentials := r.Header["Authorization"]
	if len(credentials) == 0 {
		principal, refused := a.withoutToken(r, p)
		return principal, nil, refused
	}
	scheme, token, _ := strings.Cut(credentials[0], " ")
	if len(credentials) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.Contains(token, " ") {
		return Principal{}, nil, denied(Malformed, "the header Authorization is to be there once, as: Bearer TOKEN")
	}
	if strings.Contains(token, ".") {
		return a.token(r, p, token)
	}
	principal, refused := plain(r, p, token)
	return principal, nil, refused
}

// withoutToken recognises a request by its connection.
func (a *Authenticator) withoutToken(r *http.Request, p *policy) (Principal, *refusal) {
	if r.ContentLength > a.cfg.MaxBody {
		_, refused := a.readBody(r)
		return Principal{}, refused
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return a.certificate(r, p)
	}
	if peer, ok := peerOf(r.Context()); ok && len(p.users) > 0 {
		return user(r, p, peer)
	}
	return Principal{}, denyNothing()
}

func denyNothing() *refusal {
	refused := denied(NoCredentials,
		"the request does not say who makes it: sign it (docs/trust.md), or use another way that this node is configured for")
	refused.failure = false
	return refused
}

// Require returns a middleware that lets those through who have a scope. It stands after Middleware.
func Require(s Scope) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refused := Lacks(r.Context(), s); refused != nil {
				w.Header().Set("WWW-Authenticate", Challenge(refused, s))
				refused.Instance = requestID(w)
				refused.Write(w)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Lacks returns the problem that answers a request whose principal has not a scope: 401, if there is no principal, or 403. nil:
// they have it.
func Lacks(ctx context.Context, s Scope) *problem.Problem {
	p, ok := FromContext(ctx)
	switch {
	case !ok:
		return denyNothing().problem
	case !p.May(s):
		return problem.New(http.StatusForbidden, problem.Forbidden,
			fmt.Sprintf("this takes the scope %s, and the request has %s: ask for it in the token, and give it to the key", s, p.Scopes))
	}
	return nil
}

// Challenge is the header WWW-Authenticate of an answer that Lacks has given (RFC 6750, section 3.1).
func Challenge(p *problem.Problem, s Scope) string {
	if p.Status == http.StatusUnauthorized {
		return `Bearer realm="waylume"`
	}
	return fmt.Sprintf(`Bearer realm="waylume", error="insufficient_scope", scope=%q`, string(s))
}
