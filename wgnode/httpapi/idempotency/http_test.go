package idempotency_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

var ctx = context.Background()

func TestSameAgain(t *testing.T) {
	var ran atomic.Int32
	w := newWorld(t, idempotency.Config{Store: idempotency.NewMemoryStore()}, func(rw http.ResponseWriter, r *http.Request) {
		n := ran.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		rw.Header().Set("Location", "/peers/1")
		rw.Header().Set("Etag", `"7"`)
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Set-Cookie", "not=kept")
		rw.WriteHeader(http.StatusCreated)
		fmt.Fprintf(rw, `{"run":%d,"body":%q}`, n, body)
	})
	defer w.close()

	q := request{key: "8e03978e-40d5-43dd-bc93-6894a57f9324", body: `{"name":"a"}`, principal: "p",
		header: map[string]string{"X-Send-Id": "1"}}
	first := w.do(q)
	require.Equal(t, http.StatusCreated, first.status)
	require.JSONEq(t, `{"run":1,"body":"{\"name\":\"a\"}"}`, first.body)
	require.False(t, first.replayed)

	q.header["X-Send-Id"] = "2"
	for _, key := range []string{q.key, `"` + q.key + `"`} {
		q.key = key
		again := w.do(q)
		require.Equal(t, first.status, again.status)
		require.Equal(t, first.body, again.body)
		require.True(t, again.replayed)
		require.Equal(t, "/peers/1", again.header.Get("Location"))
		require.Equal(t, `"7"`, again.header.Get("Etag"))
		require.Equal(t, "application/json", again.header.Get("Content-Type"))
		require.Equal(t, "2", again.header.Get("X-Request-Id"), "what this request has from outside is its own")
		require.Empty(t, again.header.Get("Set-Cookie"))
	}
	require.EqualValues(t, 1, ran.Load())

	for what, change := range map[string]func(*request){
		"body":         func(q *request) { q.body += " " },
		"query":        func(q *request) { q.path = "/peers?x=1" },
		"content type": func(q *request) { q.header = map[string]string{"Content-Type": "application/merge-patch+json"} },
		"precondition": func(q *request) { q.header = map[string]string{"If-Match": `"1"`} },
	} {
		other := q
		change(&other)
		w.refused(other, http.StatusConflict, "idempotency-key-reused")
		require.EqualValues(t, 1, ran.Load(), what)
	}
	for what, change := range map[string]func(*request){
		"principal": func(q *request) { q.principal = "another" },
		"method":    func(q *request) { q.method = http.MethodPut },
		"path":      func(q *request) { q.path = "/peers/2" },
		"key":       func(q *request) { q.key = "another" },
	} {
		other := q
		change(&other)
		before := ran.Load()
		require.False(t, w.do(other).replayed, what)
		require.Equal(t, before+1, ran.Load(), what)
	}
	for range 2 { // reading, and writing without a key
		before := ran.Load()
		require.False(t, w.do(request{method: http.MethodGet, key: q.key, principal: "p"}).replayed)
		require.False(t, w.do(request{principal: "p"}).replayed)
		require.Equal(t, before+2, ran.Load())
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	w := newWorld(t, idempotency.Config{Store: idempotency.NewMemoryStore(), MaxBody: 100}, func(http.ResponseWriter,
		*http.Request) {
		panic("it ran")
	})
	defer w.close()
	for key, why := range map[string]string{
		"a b":                    "character 2 is not visible ASCII",
		strings.Repeat("k", 256): "it has 256 characters",
		`""`:                     "it has 0 characters",
		`"open`:                  "the closing quote is missing",
		`"a"; b=1`:               "something follows the closing quote",
		`"a\b"`:                  "a backslash stands before neither",
		"schlüssel":              "character 5 is not visible ASCII",
	} {
		got := w.refused(request{key: key}, http.StatusBadRequest, "malformed")
		require.Contains(t, got.body, why)
		require.Contains(t, got.body, `"location":"header.Idempotency-Key"`)
		require.NotContains(t, got.body, strings.Repeat("k", 20), "an error does not say a key")
	}
	w.refused(request{key: "k", body: strings.Repeat("b", 101)}, http.StatusRequestEntityTooLarge, "too-large")
	require.Zero(t, w.keys.Stats())
}

// A hundred requests with one key, at once, are one.
func TestAtOnce(t *testing.T) {
	const clients = 100
	var ran atomic.Int32
	release := make(chan struct{})
	w := newWorld(t, idempotency.Config{Store: idempotency.NewMemoryStore(), Wait: time.Minute}, func(rw http.ResponseWriter,
		_ *http.Request) {
		<-release
		fmt.Fprintf(rw, "run %d", ran.Add(1))
	})
	defer w.close()
	var replayed atomic.Int32
	var all sync.WaitGroup
	errs := make(chan error, clients)
	for range clients {
		all.Go(func() {
			got, err := w.send(request{key: "k", body: "b"})
			if err == nil && got.body != "run 1" {
				err = errors.New(got.body)
			}
			if got.replayed {
				replayed.Add(1)
			}
			errs <- err
		})
	}
	require.Eventually(t, func() bool { return w.keys.Stats().UnderWay == 1 }, soon, time.Millisecond)
	w.refused(request{key: "k", body: "c"}, http.StatusConflict, "idempotency-key-reused")
	close(release)
	all.Wait()
	for range clients {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, 1, ran.Load())
	require.EqualValues(t, clients-1, replayed.Load())
}

func TestUnderWay(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": -1, "after a while": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			started, release := make(chan struct{}), make(chan struct{})
			w := newWorld(t, idempotency.Config{Store: idempotency.NewMemoryStore(), Wait: wait}, func(http.ResponseWriter,
				*http.Request) {
				close(started)
				<-release
			})
			defer w.close()
			var first sync.WaitGroup
			var err error
			first.Go(func() { _, err = w.send(request{key: "k"}) })
			<-started
			got := w.refused(request{key: "k"}, http.StatusConflict, "idempotency-key-in-use")
			require.Equal(t, "1", got.header.Get("Retry-After"))
			close(release)
			first.Wait()
			require.NoError(t, err)
			require.True(t, w.do(request{key: "k"}).replayed)
		})
	}
}

// What is not kept: the request runs again, and knows whether something may have been done.
func TestFailures(t *testing.T) {
	for status, doubtful := range map[int]bool{
		401: false, 403: false, 425: false, 429: false, 503: false, 408: true, 500: true, 502: true, 504: true, 599: true,
		0: true, // it panics
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			var ran atomic.Int32
			var seeds []string
			w := newWorld(t, idempotency.Config{Store: idempotency.NewMemoryStore()}, func(rw http.ResponseWriter, r *http.Request) {
				seed, ok := idempotency.Seed(r.Context())
				if !ok {
					panic("no seed")
				}
				seeds = append(seeds, hex.EncodeToString(seed[:]))
				interrupted := idempotency.Interrupted(r.Context())
				switch n := ran.Add(1); {
				case n == 3:
					fmt.Fprint(rw, interrupted)
				case n == 2 && interrupted != doubtful:
					rw.WriteHeader(http.StatusTeapot)
				case n == 2:
					rw.WriteHeader(http.StatusTooManyRequests) // says nothing of the first run
				case status == 0:
					panic("as it happens")
				default:
					rw.WriteHeader(status)
				}
			})
			defer w.close()
			got := w.do(request{key: "k"})
			require.Equal(t, max(status, 500*(1-min(1, status))), got.status)
			require.Equal(t, http.StatusTooManyRequests, w.do(request{key: "k"}).status)
			require.Equal(t, fmt.Sprint(doubtful), w.do(request{key: "k"}).body)
			require.Equal(t, reply{200, fmt.Sprint(doubtful), true, nil}, plain(w.do(request{key: "k"})))
			require.Len(t, seeds, 3)
			require.Equal(t, doubtful, seeds[0] == seeds[1] && seeds[1] == seeds[2])
		})
	}
}

func plain(r reply) reply {
	r.header = nil
	return r
}

func TestOnce(t *testing.T) {
	var ran atomic.Int32
	top := func(rw http.ResponseWriter, r *http.Request) {
		ran.Add(1)
		panic("in the middle")
	}
	byCall := func(rw http.ResponseWriter, r *http.Request) {
		var p interface{ Write(http.ResponseWriter) }
		if err := idempotency.Once(r.Context()); errors.As(err, &p) {
			p.Write(rw)
			return
		}
		top(rw, r)
	}
	for name, handler := range map[string]http.HandlerFunc{"call": byCall,
		"route": idempotency.OnlyOnce(http.HandlerFunc(top)).ServeHTTP} {
		t.Run(name, func(t *testing.T) {
			ran.Store(0)
			w := newWorld(t, idempotency.Config{Store: idempotency.NewMemoryStore()}, handler)
			defer w.close()
			require.Equal(t, http.StatusInternalServerError, w.do(request{key: "k"}).status)
			first := w.refused(request{key: "k"}, http.StatusConflict, "outcome-unknown")
			again := w.do(request{key: "k"})
			require.Equal(t, first.body, again.body)
			require.True(t, again.replayed)
			require.EqualValues(t, 1, ran.Load())
			require.Equal(t, http.StatusInternalServerError, w.do(request{}).status, "without a key nobody knows")
		})
	}
}

// An answer that is too large is sent as it comes, and the request is done.
func TestLargeAnswer(t *testing.T) {
	var ran atomic.Int32
	w := newWorld(t, idempotency.Config{Store: idempotency.NewMemoryStore(), MaxAnswer: 1000}, func(rw http.ResponseWriter,
		r *http.Request) {
		ran.Add(1)
		rw.Header().Set("X-Large", "yes")
		for range 100 {
			fmt.Fprint(rw, strings.Repeat("x", 100))
		}
	})
	defer w.close()
	got := w.do(request{key: "k"})
	require.Equal(t, strings.Repeat("x", 10000), got.body)
	require.Equal(t, "yes", got.header.Get("X-Large"))
	w.refused(request{key: "k"}, http.StatusConflict, "idempotent-answer-lost")
	require.EqualValues(t, 1, ran.Load())
	require.Equal(t, idempotency.Stats{Finished: 1}, w.keys.Stats())
}
