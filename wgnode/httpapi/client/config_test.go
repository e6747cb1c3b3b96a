package client_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestConfigRefused(t *testing.T) {
	for want, cfg := range map[string]client.Config{
		"the whole path of the socket": {URL: "unix:api.sock"},
		"is not where an API is":       {URL: "example.com:8080"},
		"give such as":                 {URL: "ftp://example.com"},
		"has a user in it":             {URL: "https://me:secret@example.com"},
		"has a query":                  {URL: "https://example.com?x=1"},
		"Attempts is 11":               {URL: "https://example.com", Attempts: 11},
		"Timeout is -1s":               {URL: "https://example.com", Timeout: -time.Second},
		"more than one line":           {URL: "https://example.com", UserAgent: "a\nb"},
		"leave it out":                 {URL: "unix:/x", HTTPClient: http.DefaultClient},
	} {
		_, err := client.New(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestBearer(t *testing.T) {
	for url, well := range map[string]bool{
		"https://example.com": true, "http://127.0.0.1": true, "http://[::1]:80": true, "http://localhost": true,
		"http://example.com": false, "http://10.0.0.1": false,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		require.Equal(t, well, client.Bearer("secret")(r, nil) == nil, url)
		require.Equal(t, well, r.Header.Get("Authorization") == "Bearer secret", url)
		require.Error(t, client.Bearer("two\nlines")(r, nil))
	}
	c, s := serving(t, client.Config{Authorize: func(*http.Request, []byte) error { return errors.New("no key") }}, ok(api.Node{}))
	_, err := c.Node(t.Context())
	require.ErrorContains(t, err, "no key")
	require.Empty(t, s.requests(), "what is not signed is not sent")
	require.NotErrorIs(t, err, client.ErrUnreachable)
	_, _, err = c.Account(t.Context(), "..")
	require.ErrorContains(t, err, `".." cannot be the name`)
	require.True(t, strings.HasPrefix(c.URL(), "http://127.0.0.1:"))
}
