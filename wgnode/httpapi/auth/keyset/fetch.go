package keyset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// complete checks a configuration, and gives what is left out.
func (c *RemoteConfig) complete() error {
	if err := checkURL(c.URL); err != nil {
		return err
	}
	for _, d := range []struct {
		name       string
		value      *time.Duration
		otherwise  time.Duration
		atLeast    time.Duration
		whyAtLeast string
	}{
		{"Refresh", &c.Refresh, 10 * time.Minute, 10 * time.Second, "10s"},
		{"Retry", &c.Retry, 30 * time.Second, time.Second, "1s"},
		{"Timeout", &c.Timeout, 5 * time.Second, 10 * time.Millisecond, "10ms"},
		{"MaxStale", &c.MaxStale, 24 * time.Hour, 10 * time.Second, "10s"},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
		if *d.value < d.atLeast {
			return fmt.Errorf("%s of %s is %v: give %s or more", d.name, c.URL, *d.value, d.whyAtLeast)
		}
	}
	if c.MaxStale < c.Refresh {
		return fmt.Errorf("MaxStale of %s is %v, and Refresh %v: keys would grow too old between two requests", c.URL, c.MaxStale,
			c.Refresh)
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 256 << 10
	}
	if c.MaxBytes < 0 {
		return fmt.Errorf("MaxBytes of %s is %d: give 1 or more", c.URL, c.MaxBytes)
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// checkURL refuses what anybody on the way could change.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is no URL of keys: give one like https://example.com/.well-known/jwks.json", raw)
	}
	switch host := u.Hostname(); {
	case u.User != nil:
		return fmt.Errorf("the URL of keys at %s has a password: keys are public, leave it out", u.Host)
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%s: keys are fetched by https, not %s", raw, u.Scheme)
	case host == "localhost":
		return nil
	default:
		if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
			return nil
		}
		return fmt.Errorf("%s: keys are fetched by https; http is for the loopback alone", raw)
	}
}

// refresh asks the URL for its keys, and has those if they are well.
func (r *Remote) refresh(ctx context.Context) error {
	keys, ignored, err := r.fetch(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := r.cfg.Now()
	r.mu.Lock()
	r.tried = now
	r.status.Fetches++
	before := r.status.LastError
	if err != nil {
		r.status.Failures++
		r.status.LastError = err.Error()
	} else if !r.closed {
		r.status.LastError, r.status.Refreshed = "", now
		r.keys = make(map[string]Key, len(keys))
		for _, k := range keys {
			r.keys[k.ID()] = k
		}
	}
	refreshed := r.status.Refreshed
	r.mu.Unlock()
	switch {
	case err != nil && before != err.Error():
		r.cfg.Logger.WarnContext(ctx, "keys not refreshed", "url", r.cfg.URL, "error", err, "refreshed", refreshed,
			"max_stale", r.cfg.MaxStale)
	case err == nil && (before != "" || len(keys) == 0):
		r.cfg.Logger.InfoContext(ctx, "keys refreshed", "url", r.cfg.URL, "keys", len(keys), "ignored", ignored)
	}
	return err
}

// fetch asks the URL once.
func (r *Remote) fetch(ctx context.Context) (_ []Key, ignored int, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.URL, http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("GET %s: status %d", r.cfg.URL, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, r.cfg.MaxBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("GET %s: %w", r.cfg.URL, err)
	}
	if int64(len(body)) > r.cfg.MaxBytes {
		return nil, 0, fmt.Errorf("GET %s: the answer has more than %d bytes", r.cfg.URL, r.cfg.MaxBytes)
	}
	keys, ignored, err := ParseJWKS(body, false)
	if err != nil {
		return nil, 0, fmt.Errorf("GET %s: %w", r.cfg.URL, err)
	}
	return keys, ignored, nil
}
