package keyset_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth/keyset"
)

// world is what a Remote asks, in a bubble where time is made.
type world struct {
	mu     sync.Mutex
	answer func() (int, string)
	asked  []time.Time
}

func (w *world) set(answer func() (int, string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

func (w *world) RoundTrip(*http.Request) (*http.Response, error) {
	w.mu.Lock()
	answer := w.answer
	w.asked = append(w.asked, time.Now())
	w.mu.Unlock()
	status, body := answer()
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (w *world) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

func ok(body []byte) func() (int, string) {
	return func() (int, string) { return http.StatusOK, string(body) }
}

func down() (int, string) { return http.StatusBadGateway, "" }

func newRemote(t *testing.T, w *world, cfg keyset.RemoteConfig) *keyset.Remote {
	t.Helper()
	cfg.URL, cfg.Transport = "https://example.com/jwks.json", w
	r, err := keyset.NewRemote(cfg)
	require.NoError(t, err)
	return r
}

func TestRemoteRefreshesOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: ok(set(t, edJWK(t, "a")))}
		r := newRemote(t, w, keyset.RemoteConfig{Refresh: 100 * time.Second, MaxStale: time.Hour})
		time.Sleep(time.Hour)
		require.Zero(t, w.requests(), "nothing is asked before Start")
		r.Start()
		r.Start()
		time.Sleep(1000 * time.Second)
		synctest.Wait()
		for i := 1; i < len(w.asked); i++ {
			between := w.asked[i].Sub(w.asked[i-1])
			require.GreaterOrEqual(t, between, 90*time.Second)
			require.LessOrEqual(t, between, 110*time.Second)
		}
		require.Greater(t, w.requests(), 8)
		// While it is down it is asked more often, and the keys count until they are too old.
		w.set(down)
		refreshed := r.Status().Refreshed
		time.Sleep(time.Until(refreshed.Add(time.Hour)))
		_, found, err := r.Lookup(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, found)
		require.Greater(t, r.Status().Failures, uint64(60))
		time.Sleep(time.Nanosecond)
		_, found, err = r.Lookup(t.Context(), "a")
		require.ErrorIs(t, err, keyset.ErrStale)
		require.False(t, found)
		w.set(ok(set(t, edJWK(t, "b"))))
		time.Sleep(time.Minute)
		_, found, err = r.Lookup(t.Context(), "b")
		require.NoError(t, err)
		require.True(t, found)
		r.Close()
		r.Close()
		r.Start()
		_, found, _ = r.Lookup(t.Context(), "b")
		require.False(t, found)
	})
}

// However many name a key that is not known, the URL is asked once in Retry, and whoever waits is answered with all others.
func TestRemoteIsAskedOnceForUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: ok(set(t, edJWK(t, "a")))}
		r := newRemote(t, w, keyset.RemoteConfig{})
		r.Start()
		synctest.Wait()
		require.Equal(t, 1, w.requests())
		time.Sleep(30 * time.Second)
		w.set(func() (int, string) {
			time.Sleep(2 * time.Second)
			return http.StatusOK, string(set(t, edJWK(t, "b")))
		})
		var wg sync.WaitGroup
		var found, missed atomic.Int64
		for range 100 {
			wg.Go(func() {
				_, ok, err := r.Lookup(t.Context(), "b")
				switch {
				case err != nil:
					t.Error(err)
				case ok:
					found.Add(1)
				default:
					missed.Add(1)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 2, w.requests())
		require.Equal(t, int64(64), found.Load())
		require.Equal(t, int64(36), missed.Load(), "no more wait than may")
		for range 100 {
			_, ok, err := r.Lookup(t.Context(), "c")
			require.NoError(t, err)
			require.False(t, ok)
		}
		require.Equal(t, 2, w.requests())
		// Who goes away does not wait.
		time.Sleep(30 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, ok, err := r.Lookup(ctx, "c")
		require.NoError(t, err)
		require.False(t, ok)
		require.Equal(t, time.Second, time.Since(began))
		r.Close()
	})
}

// What is no set of keys leaves those that there are.
func TestRemoteKeepsWhatItHas(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		good := set(t, edJWK(t, "a"))
		w := &world{answer: ok(good)}
		r := newRemote(t, w, keyset.RemoteConfig{MaxBytes: int64(len(good)), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		r.Start()
		synctest.Wait()
		for want, answer := range map[string]func() (int, string){
			"status 502":     down,
			"status 204":     func() (int, string) { return http.StatusNoContent, "" },
			"more than":      ok(append(good, ' ')),
			"is no JWK Set":  ok([]byte("<html>")),
			"it is a secret": ok(set(t, octJWK("h"))),
		} {
			w.set(answer)
			time.Sleep(11 * time.Minute)
			require.Contains(t, r.Status().LastError, want)
			_, found, err := r.Lookup(t.Context(), "a")
			require.NoError(t, err)
			require.True(t, found)
		}
		w.set(ok([]byte(`{"keys":[]}`)))
		time.Sleep(11 * time.Minute)
		_, found, err := r.Lookup(t.Context(), "a")
		require.NoError(t, err)
		require.False(t, found, "a set without keys takes all away")
		r.Close()
	})
	require.Contains(t, log.String(), "keys not refreshed")
	require.Contains(t, log.String(), "keys refreshed")
}

// A real server that sends slowly, endlessly, or elsewhere.
func TestRemoteOfARealServer(t *testing.T) {
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set(t, edJWK(t, "a"))) })
	s := httptest.NewServer(mux)
	defer s.Close()
	defer close(release)
	for path, want := range map[string]string{
		"/endless": "more than", "/silent": "deadline exceeded", "/elsewhere": "for the loopback alone",
		"/round": "three redirects", "/good": "",
	} {
		cfg := keyset.RemoteConfig{URL: s.URL + path}
		if path == "/silent" {
			cfg.Timeout = 200 * time.Millisecond
		}
		r, err := keyset.NewRemote(cfg)
		require.NoError(t, err)
		r.Start()
		_, found, err := r.Lookup(t.Context(), "a")
		require.Equal(t, want == "", found)
		if want != "" {
			require.ErrorIs(t, err, keyset.ErrStale)
			require.Contains(t, r.Status().LastError, want)
		}
		r.Close()
	}
}

func TestRemoteRefuses(t *testing.T) {
	for want, cfg := range map[string]keyset.RemoteConfig{
		"no URL":       {URL: "keys"},
		"by https":     {URL: "http://example.com/"},
		"not ftp":      {URL: "ftp://example.com/"},
		"a password":   {URL: "https://a:b@example.com/"},
		"Refresh":      {URL: "https://example.com/", Refresh: time.Second},
		"Retry":        {URL: "http://127.0.0.1/", Retry: -1},
		"grow too old": {URL: "http://[::1]:80/", Refresh: time.Hour, MaxStale: time.Minute},
		"MaxBytes":     {URL: "http://localhost/", MaxBytes: -1},
	} {
		_, err := keyset.NewRemote(cfg)
		require.ErrorContains(t, err, want)
	}
}
