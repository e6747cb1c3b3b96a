package daemontest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPublic: what needs no token has a limit, too, and one of its own.
func TestPublic(t *testing.T) {
	s := newSite(t, settings{"api.rate.per_source": 0.01, "api.rate.burst": 3, "api.docs": true})
	d := s.launch(t)
	client := s.unix()
	d.until(t, "serves", func() bool {
		res, err := client.Get(onSocket + "/livez")
		return err == nil && res.Body.Close() == nil
	})
	ask := func(path string) int {
		res, err := client.Get(onSocket + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	for range 3 {
		require.Equal(t, http.StatusOK, ask(peers))
	}
	require.Equal(t, http.StatusTooManyRequests, ask(peers))
	require.Equal(t, http.StatusOK, ask("/readyz"))
	require.Equal(t, http.StatusOK, ask("/docs"))
	require.Equal(t, http.StatusOK, ask("/openapi.json"))
	for _, path := range []string{"/readyz", "/docs", "/openapi.json"} {
		require.Equal(t, http.StatusTooManyRequests, ask(path), path)
	}
	for range 10 {
		require.Equal(t, http.StatusOK, ask("/livez"))
	}
	d.stop(t)
}
