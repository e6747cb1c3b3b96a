package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

// A process dies while a request is under way: after the restart it runs again, knows that, and draws the same.
func TestRestart(t *testing.T) {
	store := idempotency.NewMemoryStore()
	var mu sync.Mutex
	var seen []string
	started, release := make(chan struct{}, 10), make(chan struct{})
	handler := func(w http.ResponseWriter, r *http.Request) {
		seed, ok := idempotency.Derive(r.Context(), "peer 1")
		other, _ := idempotency.Derive(r.Context(), "peer 2")
		line := fmt.Sprintf("interrupted=%v ok=%v %x %v", idempotency.Interrupted(r.Context()), ok, seed, seed == other)
		mu.Lock()
		seen = append(seen, line)
		mu.Unlock()
		started <- struct{}{}
		<-release
		fmt.Fprint(w, line)
	}
	first := newWorld(t, idempotency.Config{Store: store}, handler)
	var dying sync.WaitGroup
	dying.Go(func() { _, _ = first.send(request{key: "k"}) })
	<-started
	second := newWorld(t, idempotency.Config{Store: store}, handler)
	defer second.close()
	require.Equal(t, idempotency.Stats{Interrupted: 1}, second.keys.Stats())
	second.refused(request{key: "k", body: "other"}, http.StatusConflict, "idempotency-key-reused")
	close(release)
	got := second.do(request{key: "k"})
	require.Len(t, seen, 2)
	require.Equal(t, seen[1], got.body)
	require.Equal(t, strings.Replace(seen[0], "interrupted=false", "interrupted=true", 1), seen[1])
	require.True(t, strings.HasSuffix(seen[0], " false"))
	dying.Wait()
	first.close()

	third := newWorld(t, idempotency.Config{Store: store}, handler)
	defer third.close()
	again := third.do(request{key: "k"})
	require.True(t, again.replayed)
	require.Len(t, seen, 2)
	without := third.do(request{})
	require.True(t, strings.HasPrefix(without.body, "interrupted=false ok=false 0000"), without.body)
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := idempotency.NewMemoryStore()
		keys, err := idempotency.New(t.Context(), idempotency.Config{Store: store})
		require.NoError(t, err)
		ran := 0
		handler := keys.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ran++
			if r.URL.Path == "/fails" {
				w.WriteHeader(http.StatusInternalServerError)
			}
			seed, _ := idempotency.Seed(r.Context())
			fmt.Fprintf(w, "%x", seed)
		}))
		send := func(path string) string {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, http.NoBody)
			r.Header.Set(idempotency.Header, "k")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w.Body.String()
		}
		first := send("/")
		time.Sleep(24*time.Hour - 1)
		require.Equal(t, first, send("/"))
		time.Sleep(time.Nanosecond)
		second := send("/")
		require.NotEqual(t, first, second, "it is another use of the key")
		require.Equal(t, 2, ran)
		send("/fails")

		ctx, cancel := context.WithCancelCause(t.Context())
		var task sync.WaitGroup
		task.Go(func() { err = keys.Run(ctx) })
		time.Sleep(24*time.Hour - 1)
		require.Equal(t, 2, count(t, store))
		time.Sleep(time.Minute)
		require.Zero(t, count(t, store), "nobody has asked, and it is gone")
		require.Zero(t, keys.Stats())
		cancel(errors.New("over"))
		task.Wait()
		require.EqualError(t, err, "over")
	})
}

func count(t *testing.T, store idempotency.Store) (n int) {
	for _, err := range store.Load(t.Context()) {
		require.NoError(t, err)
		n++
	}
	return n
}

func TestMaxBytes(t *testing.T) {
	store := idempotency.NewMemoryStore()
	var ran atomic.Int32
	w := newWorld(t, idempotency.Config{Store: store, MaxBytes: 5000, MaxAnswer: 2000}, func(rw http.ResponseWriter,
		_ *http.Request) {
		ran.Add(1)
		fmt.Fprint(rw, strings.Repeat("x", 1000))
	})
	defer w.close()
	for i := range 10 {
		w.do(request{key: fmt.Sprint(i)})
		require.LessOrEqual(t, w.keys.Stats().Bytes, int64(5000))
	}
	require.Equal(t, 3, w.keys.Stats().Finished)
	require.NoError(t, w.keys.Sweep(ctx))
	require.Equal(t, 3, count(t, store))
	require.True(t, w.do(request{key: "9"}).replayed)
	require.True(t, w.do(request{key: "7"}).replayed)
	require.False(t, w.do(request{key: "6"}).replayed)
	require.EqualValues(t, 11, ran.Load())
}

// failing is a store that fails when it is told to.
type failing struct {
	idempotency.Store
	commit, read atomic.Pointer[error]
}

func (s *failing) Commit(ctx context.Context, c idempotency.Change) error {
	if err := s.commit.Load(); err != nil {
		return *err
	}
	return s.Store.Commit(ctx, c)
}

func (s *failing) Answer(ctx context.Context, id idempotency.ID) ([]byte, error) {
	if err := s.read.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Answer(ctx, id)
}

func TestFailingStore(t *testing.T) {
	broken := errors.New("the disk is full")
	store := &failing{Store: idempotency.NewMemoryStore()}
	var ran atomic.Int32
	fails := false
	w := newWorld(t, idempotency.Config{Store: store}, func(rw http.ResponseWriter, r *http.Request) {
		if fails {
			store.commit.Store(&broken)
		}
		fmt.Fprintf(rw, "%d %v", ran.Add(1), idempotency.Interrupted(r.Context()))
	})
	defer w.close()

	store.commit.Store(&broken)
	got := w.refused(request{key: "k"}, http.StatusServiceUnavailable, "unavailable")
	require.NotContains(t, got.body, "disk")
	require.Equal(t, "30", got.header.Get("Retry-After"))
	require.Zero(t, ran.Load(), "without an intent nothing runs")
	require.Equal(t, "1 false", w.do(request{}).body, "but what has no key")
	store.commit.Store(nil)
	fails = true
	require.Equal(t, "2 false", w.do(request{key: "k"}).body, "who asked learns what was done, though it cannot be kept")
	require.Equal(t, idempotency.Stats{Interrupted: 1}, w.keys.Stats())
	fails = false
	store.commit.Store(nil)
	require.Equal(t, "3 true", w.do(request{key: "k"}).body)
	require.Equal(t, reply{200, "3 true", true, nil}, plain(w.do(request{key: "k"})))

	store.read.Store(&broken)
	w.refused(request{key: "k"}, http.StatusServiceUnavailable, "unavailable")
	store.read.Store(new(idempotency.ErrDamaged))
	w.refused(request{key: "k"}, http.StatusConflict, "idempotent-answer-lost")
	store.read.Store(nil)
	require.True(t, w.do(request{key: "k"}).replayed)
	require.EqualValues(t, 3, ran.Load())
}

func TestConfig(t *testing.T) {
	_, err := idempotency.New(ctx, idempotency.Config{
		Retention: time.Second, MaxEntries: -1, MaxBytes: 10, MaxBody: -1, MaxAnswer: 6,
	})
	for _, part := range []string{
		"Store is nil", "Retention is 1s: give 1m0s to 720h0m0s", "MaxEntries is -1", "MaxBody is -1",
		"MaxAnswer is 6: give 1 to 1073741824, and at most half",
	} {
		require.ErrorContains(t, err, part)
	}
}
