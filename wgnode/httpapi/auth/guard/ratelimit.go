package guard

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// RateConfig bounds how many requests there are.
type RateConfig struct {
	// Name is the policy's in the headers of answers: "source", "key". Letters, digits, '-' and '_'.
	Name string
	// By returns what shares one limit: BySource, ByPrincipal. Not ok: the request has none.
	By func(*http.Request) (key string, ok bool)
	// PerSecond is how many requests may come in a second, in the long run, and Burst how many at once. Both more than 0.
	PerSecond float64
	Burst     int
	// MaxKeys is how many keys are remembered: the one that asked longest ago is forgotten for another, and may ask anew. 0: 4,096.
	MaxKeys int
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// BySource is a RateConfig's By: an IPv4 address, or the /64 of an IPv6 address. nil trusts no proxy.
func BySource(sources *source.Resolver) func(*http.Request) (string, bool) {
	return func(r *http.Request) (string, bool) { return sources.Of(r).Group().String(), true }
}

// ByPrincipal is a RateConfig's By: the key that has signed, or else the principal. A request without one has no limit. It is
// for after the authentication.
func ByPrincipal(r *http.Request) (string, bool) {
	p, ok := auth.FromContext(r.Context())
	if p.KeyID != "" {
		return p.Method + " key " + p.KeyID, ok
	}
	return p.Method + " " + p.Name, ok
}

// RateLimit returns a middleware that answers those who ask too often with 429 and Retry-After, in seconds. Every answer says
// how many requests are left (RateLimit and RateLimit-Policy, draft-ietf-httpapi-ratelimit-headers).
func RateLimit(cfg RateConfig) (func(http.Handler) http.Handler, error) {
	var errs []error
	if cfg.Name == "" || !sane(cfg.Name) {
		errs = append(errs, fmt.Errorf("Name is %q: give one of letters, digits, '-' and '_'", cfg.Name))
	}
	if cfg.By == nil {
		errs = append(errs, errors.New("By is nil: say what shares a limit"))
	}
	if !(cfg.PerSecond > 0) || math.IsInf(cfg.PerSecond, 0) || cfg.Burst <= 0 || cfg.MaxKeys < 0 {
		errs = append(errs, fmt.Errorf("PerSecond %v, Burst %d, MaxKeys %d: give more than 0", cfg.PerSecond, cfg.Burst, cfg.MaxKeys))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("rate limit: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &limiter{cfg: cfg, keys: source.NewTable[string, *rate.Limiter](or(cfg.MaxKeys, 4096))}
	l.policy = fmt.Sprintf("%q;q=%d;w=%d", cfg.Name, cfg.Burst, int(math.Ceil(float64(cfg.Burst)/cfg.PerSecond)))
	return l.middleware, nil
}

type limiter struct {
	cfg    RateConfig
	policy string

	mu   sync.Mutex
	keys *source.Table[string, *rate.Limiter]
}

func (l *limiter) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := l.cfg.By(r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		left, wait := l.take(key)
		w.Header().Add("RateLimit-Policy", l.policy)
		w.Header().Add("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", l.cfg.Name, left, seconds(wait)))
		if wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
			p := problem.New(http.StatusTooManyRequests, problem.RateLimited,
				fmt.Sprintf("more than %v requests a second (limit %q): wait as long as Retry-After says", l.cfg.PerSecond, l.cfg.Name))
			p.Instance = w.Header().Get(RequestIDHeader)
			p.Write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// take takes a request from what a key has left. Wait is how long until there is one; 0: there was.
func (l *limiter) take(key string) (left int, wait time.Duration) {
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.keys.Get(key)
	if *at == nil {
		*at = rate.NewLimiter(rate.Limit(l.cfg.PerSecond), l.cfg.Burst)
	}
	if (*at).AllowN(now, 1) {
		return int((*at).TokensAt(now)), 0
	}
	missing := 1 - (*at).TokensAt(now)
	return 0, max(time.Duration(missing/l.cfg.PerSecond*float64(time.Second)), time.Nanosecond)
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
