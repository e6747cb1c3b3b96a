package idempotency_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

// modelKey is what is to be known of a key.
type modelKey struct {
	body        string
	status      int // of the answer that is kept; 0: none
	answer      string
	interrupted bool
	seed        [32]byte
	number      int // orders keys by when they came
}

// TestModel holds the middleware, over HTTP, to a slow and obvious model, through failures and restarts.
func TestModel(t *testing.T) {
	const most = 4
	rapid.Check(t, func(r *rapid.T) {
		var ran int
		var seen struct {
			interrupted bool
			seed        [32]byte
		}
		handler := func(w http.ResponseWriter, q *http.Request) {
			ran++
			body, err := io.ReadAll(q.Body)
			if err != nil {
				panic(err)
			}
			seen.interrupted = idempotency.Interrupted(q.Context())
			seen.seed, _ = idempotency.Seed(q.Context())
			status, err := strconv.Atoi(q.Header.Get("X-Answer"))
			if err != nil {
				panic(err)
			}
			if status == 0 {
				panic("as asked")
			}
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				fmt.Fprintf(w, "run %d of %q", ran, body)
			}
		}
		store := idempotency.NewMemoryStore()
		cfg := idempotency.Config{Store: store, MaxEntries: most}
		w := newWorld(r, cfg, handler)
		defer func() { w.close() }()
		known := make(map[string]*modelKey)
		came := 0

		// room is what is to be known of a new key: the oldest that has finished goes.
		room := func() bool {
			if len(known) < most {
				return true
			}
			oldest := ""
			for key, k := range known {
				if k.status != 0 && (oldest == "" || k.number < known[oldest].number) {
					oldest = key
				}
			}
			delete(known, oldest)
			return oldest != ""
		}
		r.Repeat(map[string]func(*rapid.T){
			"send": func(r *rapid.T) {
				key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(r, "key")
				body := rapid.SampledFrom([]string{"x", "x", "x", "y"}).Draw(r, "body")
				status := rapid.SampledFrom([]int{200, 201, 204, 404, 409, 422, 0, 500, 503, 429, 401}).Draw(r, "status")
				before := ran
				got, err := w.send(request{key: key, body: body, header: map[string]string{"X-Answer": strconv.Itoa(status)}})
				require.NoError(r, err)
				k := known[key]
				switch {
				case k != nil && k.body != body:
					require.Equal(r, http.StatusConflict, got.status)
					require.Contains(r, got.body, "idempotency-key-reused")
					require.Equal(r, before, ran)
					return
				case k != nil && k.status != 0:
					require.Equal(r, reply{k.status, k.answer, true, nil}, plain(got))
					require.Equal(r, before, ran)
					return
				case k == nil && !room():
					require.Equal(r, http.StatusServiceUnavailable, got.status)
					require.Equal(r, before, ran)
					return
				case k == nil:
					came++
					k = &modelKey{body: body, seed: seen.seed, number: came}
				}
				require.Equal(r, before+1, ran)
				require.False(r, got.replayed)
				require.Equal(r, k.interrupted, seen.interrupted)
				require.Equal(r, k.seed, seen.seed)
				for other, o := range known {
					require.True(r, other == key || o.seed != seen.seed)
				}
				known[key] = k
				switch status {
				case 0, 500:
					k.interrupted = true
				case 503, 429, 401:
					if !k.interrupted {
						delete(known, key)
					}
				default:
					k.status, k.answer = status, got.body
				}
			},
			"restart": func(r *rapid.T) {
				w.close()
				require.NoError(r, w.keys.Sweep(ctx)) // else what came to nothing is interrupted
				w = newWorld(r, cfg, handler)
			},
			"sweep": func(r *rapid.T) { require.NoError(r, w.keys.Sweep(ctx)) },
			"": func(r *rapid.T) {
				s := w.keys.Stats()
				interrupted := 0
				for _, k := range known {
					if k.status == 0 {
						interrupted++
					}
				}
				require.Zero(r, s.UnderWay)
				require.Equal(r, interrupted, s.Interrupted)
				require.Equal(r, len(known)-interrupted, s.Finished)
			},
		})
	})
}
