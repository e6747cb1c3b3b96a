package supabase

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// benchNode is a node whose fleet answers with the same whatever it is asked, over TLS.
func benchNode(b *testing.B) *Client {
	b.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"now":"2026-09-21T14:13:20Z","interval":15,"draining":false}`)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	b.Cleanup(s.Close)
	doc, err := parseDocument([]byte(aDocument))
	require.NoError(b, err)
	doc.Former, doc.Next = nil, nil
	doc.URLs = []string{s.URL}
	text, err := doc.encode()
	require.NoError(b, err)
	path := filepath.Join(b.TempDir(), "fleet.json")
	require.NoError(b, writeFile(path, text))
	c, err := Open(Config{CredentialFile: path, RootCAs: (&front{server: s}).root()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Close()) })
	return c
}

// BenchmarkHeartbeat is a heartbeat from end to end on the loopback, with the server's part.
func BenchmarkHeartbeat(b *testing.B) {
	c := benchNode(b)
	h := registry.Heartbeat{Server: c.Info().Server, Incarnation: 1, Status: registry.Status{Peers: 120, Connected: 80}}
	b.ReportAllocs()
	for b.Loop() {
		h.Sequence++
		if _, err := c.Heartbeat(b.Context(), h); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSign is what of that is the signature.
func BenchmarkSign(b *testing.B) {
	doc, err := parseDocument([]byte(aDocument))
	require.NoError(b, err)
	who, now, body := identify(doc, false), time.Unix(1_790_000_000, 0), make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := who.sign("/node-heartbeat", body, now); err != nil {
			b.Fatal(err)
		}
	}
}
