package idempotency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// What a zero field of [Config] means.
const (
	DefaultRetention  = 24 * time.Hour
	DefaultMaxEntries = 1 << 16
	DefaultMaxBytes   = 64 << 20
	DefaultMaxBody    = 4 << 20
	DefaultMaxAnswer  = 4 << 20
	DefaultWait       = 10 * time.Second
)

// Bounds of [Config] fields.
const (
	MinRetention = time.Minute
	MaxRetention = 30 * 24 * time.Hour
	// MaxMaxAnswer is what a sealed answer may have.
	MaxMaxAnswer = 1 << 30
)

// Config says how keys are kept.
type Config struct {
	// Store keeps them. It is not closed by this package, and must not be used by two [Keys] at a time.
	Store Store
	// Retention is how long a key and its answer are kept from when the request came: MinRetention to MaxRetention. 0:
	// DefaultRetention. Then the key is as new, and its seed another one.
	Retention time.Duration
	// MaxEntries bounds how many keys are kept. 0: DefaultMaxEntries. When there are as many, the oldest that have finished make
	// room, but never one that is under way or was interrupted: where there are only these, requests with a new key get 503.
	MaxEntries int
	// MaxBytes bounds what answers take together, in bytes. 0: DefaultMaxBytes. The oldest make room.
	MaxBytes int64
	// MaxBody bounds the body of a request with a key, which is held in memory, in bytes. 0: DefaultMaxBody. More is 413.
	MaxBody int64
	// MaxAnswer bounds the body of an answer that is kept, in bytes, at most MaxMaxAnswer, and half of MaxBytes. 0:
	// DefaultMaxAnswer. A larger one is sent, and not kept: the next request with its key is told that it was done (409).
	MaxAnswer int
	// Wait is how long a request waits for the one with the same key that is under way, before it gets 409. 0: DefaultWait;
	// less: not at all.
	Wait time.Duration
	// Headers are kept with an answer, besides those that HTTP itself gives a meaning for the answer's body and its resource.
	Headers []string
	// Logger gets what clients are not told. Nil: nobody.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	def(&c.Retention, DefaultRetention)
	def(&c.MaxEntries, DefaultMaxEntries)
	def(&c.MaxBytes, DefaultMaxBytes)
	def(&c.MaxBody, DefaultMaxBody)
	def(&c.MaxAnswer, DefaultMaxAnswer)
	def(&c.Wait, DefaultWait)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	names := []string{ // RFC 9110, sections 8 and 10.2; RFC 9111, section 5.2; RFC 8288
		"Content-Type", "Content-Language", "Content-Disposition", "Content-Location", "Location", "Etag", "Last-Modified",
		"Cache-Control", "Allow", "Link", "Retry-After",
	}
	for _, name := range c.Headers {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	c.Headers = names

	var errs []error
	wrong := func(broken bool, format string, args ...any) {
		if broken {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(c.Store == nil, "Store is nil: give what boltkeys.Open returns, or NewMemoryStore()")
	wrong(c.Retention < MinRetention || c.Retention > MaxRetention, "Retention is %s: give %s to %s", c.Retention, MinRetention,
		MaxRetention)
	wrong(c.MaxEntries < 1, "MaxEntries is %d: give 1 or more", c.MaxEntries)
	wrong(c.MaxBytes < 1, "MaxBytes is %d: give 1 or more", c.MaxBytes)
	wrong(c.MaxBody < 1, "MaxBody is %d: give 1 or more", c.MaxBody)
	wrong(c.MaxAnswer < 1 || c.MaxAnswer > MaxMaxAnswer || int64(c.MaxAnswer) > c.MaxBytes/2,
		"MaxAnswer is %d: give 1 to %d, and at most half of MaxBytes", c.MaxAnswer, MaxMaxAnswer)
	if err := errors.Join(errs...); err != nil {
		return Config{}, fmt.Errorf("idempotency: %w", err)
	}
	return c, nil
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Run deletes answers from the store soon after their time is over, until its context ends, whose cause it returns. Without it
// they are deleted with later requests.
func (k *Keys) Run(ctx context.Context) error {
	ticker := time.NewTicker(min(k.cfg.Retention/10, time.Minute))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			if err := k.Sweep(ctx); err != nil && ctx.Err() == nil {
				k.cfg.Logger.Error("idempotency keys whose time is over could not be deleted; it is tried again", "error", err)
			}
		}
	}
}
