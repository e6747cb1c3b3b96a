package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/client"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// What breaks or is busy for a while is asked again with the same key and the same body, and each time authorized anew.
func TestTriedAgain(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{
		"the connection breaks": drop,
		"a gateway fails":       answering(http.StatusBadGateway, "text/html", "<h1>"),
		"busy":                  refusing(http.StatusServiceUnavailable, problem.Unavailable),
		"until then":            refusing(http.StatusServiceUnavailable, "/problems/other", "Retry-After", "0"),
		"too many":              refusing(http.StatusTooManyRequests, problem.RateLimited, "Retry-After", "0"),
		"under way":             refusing(http.StatusConflict, "/problems/idempotency-key-in-use"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signed := 0
			c, s := serving(t, client.Config{Authorize: func(r *http.Request, body []byte) error {
				signed++
				r.Header.Set("Authorization", fmt.Sprint("n", signed, len(body)))
				return nil
			}}, first, ok(api.CreatedPeer{Peer: peer}))
			created, err := c.CreatePeer(t.Context(), api.PeerSpec{Name: "phone"}, client.IdempotencyKey("mine"))
			require.NoError(t, err)
			require.Equal(t, peer, created.Peer)
			require.Len(t, s.requests(), 2)
			for i, r := range s.requests() {
				require.Equal(t, "mine", r.header.Get("Idempotency-Key"))
				require.JSONEq(t, `{"name":"phone"}`, r.body)
				require.Equal(t, fmt.Sprint("n", i+1, 16), r.header.Get("Authorization"))
			}
		})
	}
}

// What would be refused again is not asked again, and there is an end to what is.
func TestNotTriedAgain(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		times  int
		want   error
	}{
		{"draining", refusing(http.StatusServiceUnavailable, "/problems/draining"), 1, client.ErrUnavailable},
		{"much later", refusing(http.StatusTooManyRequests, problem.RateLimited, "Retry-After", "3600"), 1, client.ErrRateLimited},
		{"a fault", refusing(http.StatusInternalServerError, problem.Internal), 1, client.ErrFailed},
		{"invalid", refusing(http.StatusUnprocessableEntity, problem.Invalid), 1, client.ErrInvalid},
		{"not there", refusing(http.StatusNotFound, problem.NotFound), 1, client.ErrNotFound},
		{"conflict", refusing(http.StatusConflict, problem.Conflict), 1, client.ErrConflict},
		{"changed", refusing(http.StatusPreconditionFailed, "/problems/precondition-failed"), 1, client.ErrPreconditionFailed},
		{"unknown", refusing(http.StatusUnauthorized, problem.Unauthenticated), 1, client.ErrUnauthenticated},
		{"forbidden", refusing(http.StatusForbidden, problem.Forbidden), 1, client.ErrForbidden},
		{"always busy", refusing(http.StatusServiceUnavailable, problem.Unavailable), 3, client.ErrUnavailable},
		{"always broken", drop, 3, client.ErrUnreachable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, s := serving(t, client.Config{Attempts: 3}, test.answer)
			_, _, err := c.PatchPeer(t.Context(), key, api.PeerPatch{})
			require.ErrorIs(t, err, test.want)
			require.Len(t, s.requests(), test.times)
			require.ErrorContains(t, err, "change a peer: ")
			var p *problem.Problem
			require.Equal(t, !errors.Is(test.want, client.ErrUnreachable), errors.As(err, &p))
			if p != nil {
				require.Equal(t, "as it is", p.Detail)
			}
		})
	}
}

// A peer whose creation was answered into a broken connection is there once.
func TestOnce(t *testing.T) {
	created := map[string]api.CreatedPeer{} // by key
	requests := 0
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		id := r.Header.Get("Idempotency-Key")
		if _, known := created[id]; !known {
			created[id] = api.CreatedPeer{Peer: api.Peer{Name: fmt.Sprint("peer-", len(created))}}
		}
		if requests < 3 {
			drop(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(created[id])
	}))
	defer listening.Close()
	c, err := client.New(client.Config{URL: listening.URL})
	require.NoError(t, err)
	defer c.Close()
	p, err := c.CreatePeer(t.Context(), api.PeerSpec{})
	require.NoError(t, err)
	require.Equal(t, "peer-0", p.Name)
	require.Len(t, created, 1)
	require.Equal(t, 3, requests)
}

// Whoever gives up is told why, without waiting for what the server asks to wait for.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gaveUp := errors.New("gave up")
	c, s := serving(t, client.Config{}, func(w http.ResponseWriter, r *http.Request) {
		refusing(http.StatusServiceUnavailable, problem.Unavailable, "Retry-After", "20")(w, r)
		cancel(gaveUp)
	})
	_, err := c.Node(ctx)
	require.ErrorIs(t, err, gaveUp)
	require.Len(t, s.requests(), 1)

	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	_, err = c.Node(ctx)
	require.ErrorIs(t, err, client.ErrUnavailable, "there is no time to wait for 20 s")
	var refusal *client.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, 20*time.Second, refusal.RetryAfter)
	require.Len(t, s.requests(), 2)

	c, s = serving(t, client.Config{Timeout: time.Second}, func(_ http.ResponseWriter,
		r *http.Request) {
		<-r.Context().Done()
	})
	_, err = c.Node(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no whole answer within 1s")
	require.Len(t, s.requests(), 1)
}

// A server that answers what it should not gets no credentials elsewhere, no memory, and no belief.
func TestHostile(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	huge := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		block := []byte(strings.Repeat(" ", 1<<20))
		for range 100 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"redirect", answering(http.StatusTemporaryRedirect, "text/plain", "", "Location", other.URL+"/\u202e"),
			"which is not followed"},
		{"redirect without an address", answering(http.StatusFound, "text/plain", ""), "the answer is 302 Found"},
		{"huge", huge, "it is longer than 16777216 bytes"},
		{"another type", answering(http.StatusOK, "text/html", "<h1>"), `it is "text/html": is the address right?`},
		{"no type", answering(http.StatusOK, "", "{}"), "is the address right?"},
		{"not JSON", answering(http.StatusOK, "application/json", "{} {}"), "after top-level value"},
		{"wrong types", answering(http.StatusOK, "application/json", `{"peers": "many"}`), "cannot unmarshal"},
		{"cut off", answering(http.StatusOK, "application/json", `{"peers"`), "unexpected end"},
		{"deep", answering(http.StatusOK, "application/json", strings.Repeat("[", 1<<20)), "max depth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := serving(t, client.Config{Authorize: client.Bearer("secret")}, test.answer)
			node, err := c.Node(t.Context())
			require.ErrorIs(t, err, client.ErrAnswer)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\u202e")
			require.Zero(t, node)
			require.Len(t, s.requests(), 1)
		})
	}
	require.Zero(t, elsewhere)

	c, _ := serving(t, client.Config{}, answering(http.StatusNotFound, "text/html", "<h1>"), answering(http.StatusNotFound,
		problem.ContentType, "["),
		answering(http.StatusNotFound, problem.ContentType, `{"title": "Fine", "status": 200}`), answering(599, "", ""))
	for _, want := range []string{
		`get the node: 404 Not Found: the answer is "text/html", and not of this API: is the address right?`,
		"get the node: 404 Not Found", "get the node: Fine", "get the node: 599",
	} {
		_, err := c.Node(t.Context())
		require.EqualError(t, err, want)
		require.Equal(t, want != "get the node: 599", errors.Is(err, client.ErrNotFound), "what counts is the response")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"state": "running"}`, "")
	f.Add(429, "application/problem+json", `{"type": "/problems/rate-limited", "title": "x"}`, "9999999999999")
	f.Add(301, "", "", "Sat, 21 Nov 2026 18:00:00 GMT")
	f.Fuzz(func(t *testing.T, status int, contentType, body, retryAfter string) {
		c, err := client.New(client.Config{URL: "http://127.0.0.1", Attempts: 1, HTTPClient: &http.Client{Transport: roundTripper(
			func(r *http.Request) (*http.Response, error) {
				return &http.Response{
					StatusCode: status, Header: http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}},
					Body: io.NopCloser(strings.NewReader(body)), Request: r,
				}, nil
			})}})
		require.NoError(t, err)
		_, err = c.Node(t.Context())
		if err == nil {
			require.True(t, status >= 200 && status < 300)
			return
		}
		var refusal *client.Error
		if !errors.As(err, &refusal) {
			require.ErrorIs(t, err, client.ErrAnswer)
			return
		}
		require.Equal(t, status, refusal.Problem.Status)
		require.GreaterOrEqual(t, refusal.RetryAfter, time.Duration(0))
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
