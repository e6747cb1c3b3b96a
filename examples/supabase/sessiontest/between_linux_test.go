package sessiontest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// between stands between the functions and a node's API.
type between struct {
	*httptest.Server
	mu     sync.Mutex
	target *url.URL
	spoil  func(w http.ResponseWriter, r *http.Request, forward http.Handler) // nil: hand on
}

func newBetween(t *testing.T) *between {
	t.Helper()
	b := &between{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		target, spoil := b.target, b.spoil
		b.mu.Unlock()
		forward := httputil.NewSingleHostReverseProxy(target)
		if spoil == nil {
			forward.ServeHTTP(w, r)
			return
		}
		spoil(w, r, forward)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *between) set(n *node, spoil func(w http.ResponseWriter, r *http.Request, forward http.Handler)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.target, b.spoil = &url.URL{Scheme: "http", Host: n.apiAt}, spoil
}

// loses has requests of a method carried out, and their answers lost.
func loses(method string, then func()) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method != method {
			forward.ServeHTTP(w, r)
			return
		}
		forward.ServeHTTP(httptest.NewRecorder(), r)
		then()
		panic(http.ErrAbortHandler) // the connection is cut off
	}
}
