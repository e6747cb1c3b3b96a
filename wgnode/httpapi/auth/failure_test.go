package auth_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
)

// bubble returns a handler behind an Authenticator, for the time of a synctest bubble.
func bubble(t *testing.T, cfg auth.Config) (*auth.Authenticator, http.Handler) {
	t.Helper()
	cfg.Trust, cfg.UsedTokens = hmacTrust(), filepath.Join(t.TempDir(), "used")
	a, err := auth.New(cfg)
	require.NoError(t, err)
	return a, a.Middleware(http.HandlerFunc(echo))
}

// ask sends a request from an address, with a token that is wrong or good, and returns the answer and how long it took.
func ask(t *testing.T, h http.Handler, from string, good bool) (*httptest.ResponseRecorder, time.Duration) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://node/", http.NoBody)
	req.RequestURI = "/"
	req.RemoteAddr = from
	require.NoError(t, sign.Request(req, hmacKey(t, "k1", secret), claims()))
	if !good {
		req.Header.Set("Authorization", req.Header.Get("Authorization")[:len("Bearer ")+100]+".x.y")
	}
	w := httptest.NewRecorder()
	began := time.Now()
	h.ServeHTTP(w, req)
	return w, time.Since(began)
}

func TestDelayGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []auth.Intrusion
		a, h := bubble(t, auth.Config{
			Failures:    auth.Failures{Threshold: 3, FirstDelay: time.Second, LongestDelay: 5 * time.Second},
			OnIntrusion: func(i auth.Intrusion) { told = append(told, i) },
		})
		began := time.Now()
		for i, seconds := range []float64{0, 0, 0, 1, 2, 4, 5, 5} {
			w, took := ask(t, h, "203.0.113.9:1", false)
			require.Equal(t, http.StatusUnauthorized, w.Code, i)
			require.InDelta(t, seconds, took.Seconds(), 0, i)
		}
		from := source.Source{Addr: netip.MustParseAddr("203.0.113.9")}
		require.Equal(t, []auth.Intrusion{
			{Source: from, Failures: 3, Since: began, Reason: auth.Malformed}, {Source: from, Failures: 6, Since: began,
				Reason: auth.Malformed},
		}, told)
		// Others do not wait, nor does who signs well from there.
		_, took := ask(t, h, "203.0.113.10:1", false)
		require.Zero(t, took)
		w, took := ask(t, h, "203.0.113.9:1", true)
		require.Equal(t, http.StatusOK, w.Code)
		require.Zero(t, took)
		_, took = ask(t, h, "203.0.113.9:1", false)
		require.Equal(t, 5*time.Second, took, "a good request does not wash a source clean")
		// What is long ago is forgotten.
		time.Sleep(10 * time.Minute)
		_, took = ask(t, h, "203.0.113.9:1", false)
		require.Zero(t, took)
		require.Equal(t, uint64(6), a.Stats().Delayed)
		require.Equal(t, uint64(2), a.Stats().Intrusions)
		require.NoError(t, a.Close())
	})
}

// Of those who fail, few wait, and the others are told to.
func TestDelaysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := bubble(t, auth.Config{Failures: auth.Failures{
			Threshold: 1, FirstDelay: 10 * time.Second, LongestDelay: 10 * time.Second, MaxWaiting: 3, MaxWaitingPerSource: 2,
		}})
		for _, from := range []string{"[2001:db8::1]:1", "203.0.113.9:1", "203.0.113.10:1"} {
			ask(t, h, from, false)
		}
		var wg sync.WaitGroup
		wait := func(from string) {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			req.RemoteAddr = from
			req.Header.Set("Authorization", "Bearer a.b.c")
			wg.Go(func() {
				w, began := httptest.NewRecorder(), time.Now()
				h.ServeHTTP(w, req)
				took := time.Since(began)
				if w.Code != http.StatusUnauthorized || took != 10*time.Second {
					t.Errorf("%s: %d after %v", from, w.Code, took)
				}
			})
			synctest.Wait()
		}
		turnedAway := func(from string) {
			w, took := ask(t, h, from, false)
			require.Equal(t, http.StatusTooManyRequests, w.Code)
			require.Equal(t, "10", w.Header().Get("Retry-After"))
			require.Zero(t, took)
		}
		wait("[2001:db8::1]:1")
		wait("[2001:db8::2]:1") // the same /64
		turnedAway("[2001:db8::3]:1")
		wait("203.0.113.9:1")
		turnedAway("203.0.113.10:1")
		require.Equal(t, 3, a.Stats().Waiting)
		wg.Wait()
		require.Equal(t, uint64(3), a.Stats().Delayed)
		require.Equal(t, uint64(2), a.Stats().Undelayed)
		require.Zero(t, a.Stats().Waiting)
		require.NoError(t, a.Close())
	})
}

func TestCloseAnswersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := bubble(t, auth.Config{Failures: auth.Failures{Threshold: 1, FirstDelay: time.Second}})
		ask(t, h, "203.0.113.9:1", false)
		done := make(chan time.Duration)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		req.RemoteAddr = "203.0.113.9:1"
		req.Header.Set("Authorization", "Bearer a.b.c")
		go func() {
			began := time.Now()
			h.ServeHTTP(httptest.NewRecorder(), req)
			done <- time.Since(began)
		}()
		synctest.Wait()
		require.NoError(t, a.Close())
		require.Zero(t, <-done)
		require.NoError(t, a.Close())
		w, _ := ask(t, h, "203.0.113.9:1", true)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
	})
}

// Who names other addresses in headers is counted by the one it has.
func TestSpoofedSource(t *testing.T) {
	var told []string
	a := newAuth(t, auth.Config{
		Trust: hmacTrust(), Failures: auth.Failures{Threshold: 3, FirstDelay: time.Nanosecond},
		OnIntrusion: func(i auth.Intrusion) { told = append(told, i.Source.String()) },
	})
	h := a.Middleware(http.HandlerFunc(echo))
	for _, claimed := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		req.RemoteAddr = "203.0.113.9:1"
		req.Header.Set("Authorization", "Bearer a.b.c")
		req.Header.Set("X-Forwarded-For", claimed)
		req.Header.Set("Forwarded", "for="+claimed)
		h.ServeHTTP(httptest.NewRecorder(), req)
	}
	require.Equal(t, []string{"203.0.113.9"}, told)
	require.Equal(t, 1, a.Stats().Sources)
}

// A log has why and from where, and nothing of a token; and of a flood it has little.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	a := newAuth(t, auth.Config{
		Trust: hmacTrust(), Failures: auth.Failures{Threshold: 1000}, Logger: slog.New(slog.NewTextHandler(&out, nil)),
	})
	h := a.Middleware(http.HandlerFunc(echo))
	p := payload(http.MethodGet, "/", "", "")
	p.Audience = "elsewhere"
	token, err := sign.Token(hmacKey(t, "k1", secret), p)
	require.NoError(t, err)
	for range 200 {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		req.Header.Set("Authorization", "Bearer "+token)
		h.ServeHTTP(httptest.NewRecorder(), req)
	}
	lines := strings.Count(out.String(), "\n")
	require.Contains(t, out.String(), "reason=wrong_audience from=192.0.2.1 status=401 kid=k1 failures=1\n")
	require.Less(t, lines, 100)
	for part := range strings.SplitSeq(token, ".") {
		require.NotContains(t, out.String(), part)
	}
	require.NotContains(t, out.String(), p.ID)
	require.Equal(t, uint64(200), a.Stats().Refused[auth.WrongAudience])
}
