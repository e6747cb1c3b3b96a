package supabase

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
)

// pair is a fleet with two servers, the first preferred, and a node.
func pair(t *testing.T, edit func(*Config)) (s *site, first, second *front, n *node) {
	t.Helper()
	s = newSite(t)
	first, second = s.front, s.newFront()
	cfg := s.config()
	cfg.URLs = append(cfg.URLs, second.url())
	if edit != nil {
		edit(&cfg)
	}
	return s, first, second, s.node(cfg)
}

// A call goes on to the next URL after all that is no answer of the fleet's, and stays there until the first is tried again.
func TestFailover(t *testing.T) {
	wait := make(chan struct{})
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"answer lost":     lose,
		"connection lost": drop,
		"502":             answers(http.StatusBadGateway, "text/html", "<h1>Bad gateway</h1>"),
		"503":             answers(http.StatusServiceUnavailable, "application/problem+json", `{"type":"urn:waylume:fleet:unavailable"}`),
		"504":             answers(http.StatusGatewayTimeout, "text/plain", ""),
		"no functions":    answers(http.StatusNotFound, "application/json", `{"code":"NOT_FOUND"}`),
		"own auth":        answers(http.StatusUnauthorized, "application/json", `{"code":401,"message":"Invalid JWT"}`),
		"another page":    answers(http.StatusOK, "text/html", "<h1>Log in to the airport's network</h1>"),
		"no JSON":         answers(http.StatusOK, "application/json", `{"now":`),
		"other JSON":      answers(http.StatusOK, "application/json", `{}`),
		"redirect":        answers(http.StatusFound, "text/html", "", "Location", "https://elsewhere.example.com/"),
		"kept":            answers(http.StatusPermanentRedirect, "text/html", "", "Location", "https://elsewhere.example.com/"),
		"no answer": func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			select {
			case <-wait:
			case <-r.Context().Done():
			}
		},
		"no end": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"now":`)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-wait:
			case <-r.Context().Done():
			}
		},
		"too much": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/json")
			for range 1 << 5 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log logs
			s, first, second, n := pair(t, func(c *Config) {
				c.Logger = log.logger()
				c.HeaderTimeout, c.Timeout = 3*time.Second, 3*time.Second
			})
			first.fails(fault)
			before := first.asked.Load()
			require.NoError(t, n.beat(t.Context()))
			require.EqualValues(t, 1, second.asked.Load())
			require.Contains(t, log.String(), "fleet does not answer")
			tries := first.asked.Load() - before
			require.NotZero(t, tries)

			first.fails(nil)
			require.NoError(t, n.beat(t.Context()))
			require.Equal(t, before+tries, first.asked.Load(), "it stays with what works")
			require.EqualValues(t, 2, second.asked.Load())

			s.clock.Advance(6 * time.Minute)
			require.NoError(t, n.beat(t.Context()))
			require.Equal(t, before+tries+1, first.asked.Load(), "and returns after a while")
			require.EqualValues(t, 2, second.asked.Load())
			require.Contains(t, log.String(), "fleet answers again")
		})
	}
	close(wait)
}

// What the fleet refuses is an answer: nobody else is asked.
func TestRefusalsAreAnswers(t *testing.T) {
	for kind, c := range map[string]struct {
		status int
		want   error
	}{
		"invalid": {400, registry.ErrInvalid}, "denied": {403, registry.ErrDenied}, "unknown-server": {404, registry.ErrUnknownServer},
		"name-taken": {409, registry.ErrNameTaken}, "superseded": {409, registry.ErrSuperseded}, "gap": {409, registry.ErrGap},
		"conflict": {409, registry.ErrConflict}, "unknown-session": {404, registry.ErrUnknownSession},
		"no-server": {503, registry.ErrNoServer}, "clock": {401, ErrClock}, "unavailable": {429, registry.ErrUnavailable},
	} {
		t.Run(kind, func(t *testing.T) {
			_, first, second, n := pair(t, nil)
			first.fails(answers(c.status, "application/problem+json", `{"type":"urn:waylume:fleet:`+kind+`","detail":"because\nso"}`,
				"Retry-After", "7"))
			err := n.beat(t.Context())
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, "because so", "in one line")
			require.ErrorContains(t, err, first.url())
			require.Zero(t, second.asked.Load())
			failed, ok := errors.AsType[*Error](err)
			require.True(t, ok)
			require.Equal(t, c.status, failed.Status)
			var later interface{ RetryAfter() time.Duration }
			require.ErrorAs(t, err, &later)
			require.Equal(t, 7*time.Second, later.RetryAfter())
		})
	}
}

// When no URL answers, the error says what became of each, and how long to wait if all say so.
func TestNoneAnswers(t *testing.T) {
	s, first, second, n := pair(t, nil)
	first.fails(answers(http.StatusServiceUnavailable, "text/plain", "", "Retry-After", "90"))
	second.fails(answers(http.StatusServiceUnavailable, "text/plain", "", "Retry-After", s.clock.Now().Add(time.Minute).UTC().Format(http.TimeFormat)))
	err := n.beat(t.Context())
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorContains(t, err, first.url())
	require.ErrorContains(t, err, second.url())
	require.NotContains(t, err.Error(), "\n")
	var later interface{ RetryAfter() time.Duration }
	require.ErrorAs(t, err, &later)
	require.InDelta(t, time.Minute, later.RetryAfter(), float64(10*time.Second))

	// The first wants not to be asked for longer than the second.
	s.clock.Advance(70 * time.Second)
	second.fails(nil)
	before := first.asked.Load()
	require.NoError(t, n.beat(t.Context()))
	require.Equal(t, before, first.asked.Load())

	second.fails(drop)
	err = n.beat(t.Context())
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorAs(t, err, &later)
	require.Zero(t, later.RetryAfter(), "one that broke may be asked again as soon as the caller likes")
	first.fails(answers(http.StatusServiceUnavailable, "text/plain", "", "Retry-After", "4000000000"))
	s.clock.Advance(time.Minute)
	require.ErrorAs(t, n.beat(t.Context()), &later)
}

// A URL where nobody listens costs a call no more than its share of the time.
func TestNobodyListens(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	gone := s.newFront()
	gone.server.Close()
	cfg.URLs = []string{gone.url(), s.url()}
	n := s.node(cfg)
	require.NoError(t, n.beat(t.Context()))
	require.Equal(t, []string{gone.url(), s.url()}, n.Info().URLs)
}

// A context that is shorter than the time-outs leaves each URL its share, and one that is canceled says nothing of a URL.
func TestContext(t *testing.T) {
	s, first, second, n := pair(t, nil)
	hang := func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
	first.fails(hang)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	require.NoError(t, n.beat(ctx))
	cancel()

	s.clock.Advance(time.Hour)
	ctx, cancel = context.WithCancel(t.Context())
	first.fails(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		cancel()
		hang(w, r, next)
	})
	before := second.asked.Load()
	require.ErrorIs(t, n.beat(ctx), context.Canceled)
	first.fails(nil)
	require.NoError(t, n.beat(t.Context()))
	require.Equal(t, before, second.asked.Load())
}

// A connection that the other side has closed meanwhile is no failure: the call has another.
func TestOldConnection(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	broken := false
	s.fails(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !broken {
			broken = true
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	require.NoError(t, n.beat(t.Context()))
	require.True(t, broken)
}

// The order has each URL once, or those alone that may be asked; one that works stands before one that does not.
func TestRoutesModel(t *testing.T) {
	const after = 5 * time.Minute
	rapid.Check(t, func(t *rapid.T) {
		urls := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "urls")]
		r := newRoutes(urls, after)
		now := time.Unix(1_790_000_000, 0)
		down, held := map[string]time.Time{}, map[string]time.Time{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			url := rapid.SampledFrom(urls).Draw(t, "url")
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				_, was := down[url]
				require.Equal(t, was, r.worked(url))
				delete(down, url)
				delete(held, url)
			case 1:
				hold := time.Duration(rapid.IntRange(0, 2).Draw(t, "hold")) * 10 * time.Minute
				_, was := down[url]
				require.Equal(t, !was, r.failed(url, now, hold))
				down[url] = now.Add(after)
				if hold > 0 {
					held[url] = now.Add(hold)
				}
			case 2:
				now = now.Add(time.Duration(rapid.IntRange(1, 700).Draw(t, "seconds")) * time.Second)
			}
			var up, last, never []string
			for _, u := range urls {
				switch {
				case now.Before(held[u]):
					never = append(never, u)
				case now.Before(down[u]):
					last = append(last, u)
				default:
					up = append(up, u)
				}
			}
			want := append(append([]string(nil), up...), last...)
			if len(want) == 0 {
				want = never
			}
			require.Equal(t, want, r.order(now))
		}
	})
}

// A clock that was set back does not keep a URL from being asked.
func TestRoutesClockSetBack(t *testing.T) {
	r := newRoutes([]string{"a", "b"}, 5*time.Minute)
	now := time.Unix(1_790_000_000, 0)
	r.failed("a", now, 10*time.Minute)
	require.Equal(t, []string{"b"}, r.order(now))
	require.Equal(t, []string{"a", "b"}, r.order(now.Add(-24*time.Hour)))
}
