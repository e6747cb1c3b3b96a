package boltkeys_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

func send(handler http.Handler, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/peers", strings.NewReader(body))
	r.Header.Set(idempotency.Header, key)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// What is answered and what is asked stand nowhere in the file, nor does the key; a new store on the file answers the same.
func TestSecrets(t *testing.T) {
	const key, body, private = "8e03978e-40d5-43dd-bc93-6894a57f9324", "preshared=xyzzyxyzzyxyzzy",
		"cHJpdmF0ZSBrZXkgb2YgYSBwZWVyIG9mIGEgbm9kZQ="
	path := newPath(t)
	for i := range 2 {
		s := open(t, path)
		keys, err := idempotency.New(ctx, idempotency.Config{Store: s})
		require.NoError(t, err)
		handler := keys.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if i > 0 {
				panic("it ran before")
			}
			_, _ = w.Write([]byte(private))
		}))
		got := send(handler, key, body)
		require.Equal(t, private, got.Body.String())
		require.Equal(t, i == 1, got.Header().Get(idempotency.ReplayedHeader) == "true")
		require.NoError(t, s.Close())
	}
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, secret := range []string{key, body, private, "xyzzyxyzzy", "/peers", "POST"} {
		require.False(t, bytes.Contains(file, []byte(secret)), secret)
	}
}

// BenchmarkRequest measures a request with a new key, two commits on the disk, alone and beside others; and one that is answered
// again.
func BenchmarkRequest(b *testing.B) {
	for _, clients := range []int{1, 64} {
		for _, how := range []string{"new", "again", "without"} {
			b.Run(fmt.Sprintf("%s/%d", how, clients), func(b *testing.B) {
				s := open(b, newPath(b))
				keys, err := idempotency.New(ctx, idempotency.Config{Store: s})
				require.NoError(b, err)
				body := strings.Repeat("x", 500)
				handler := keys.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = w.Write([]byte(body))
				}))
				send(handler, "key", body)
				var n atomic.Int64
				b.SetParallelism(clients) // times GOMAXPROCS, which is to be 1
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						key := "key"
						switch how {
						case "new":
							key = fmt.Sprintf("key-%d", n.Add(1))
						case "without":
							key = ""
						}
						if got := sendWith(handler, key, body); got != http.StatusOK {
							b.Errorf("%d", got)
						}
					}
				})
				b.StopTimer()
				require.NoError(b, s.Close())
			})
		}
	}
}

func sendWith(handler http.Handler, key, body string) int {
	r := httptest.NewRequest(http.MethodPost, "/peers", strings.NewReader(body))
	if key != "" {
		r.Header.Set(idempotency.Header, key)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code
}
