package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// crowded is a world with 10,000 peers, over real HTTP; what the dataplane takes is not in it.
func crowded(b *testing.B) (*world, []string) {
	w := newWorld(b, func(c *wgnode.Config, _ *httpapi.Config) { c.UsageLog = nil })
	added, err := w.node.AddPeers(b.Context(), make([]wgnode.PeerSpec, 10_000))
	require.NoError(b, err)
	ids := make([]string, len(added))
	for i, p := range added {
		ids[i] = api.Key(p.PublicKey).ID()
	}
	return w, ids
}

// request is do without holding the answer to the document.
func (w *world) request(method, path, body string, status int) {
	request, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	request.Header.Set("X-Scopes", allScopes)
	response, err := w.client.Do(request)
	require.NoError(w.t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, response.Body.Close())
	require.Equal(w.t, status, response.StatusCode)
}

func BenchmarkCreate(b *testing.B) {
	w, _ := crowded(b)
	for b.Loop() {
		w.request(http.MethodPost, "/api/v1/peers", `{"speed_limit": {"download": "20mbit"}, "data_cap": {"bytes": "5GiB"}}`, http.StatusCreated)
	}
}

func BenchmarkGet(b *testing.B) {
	w, ids := crowded(b)
	for i := 0; b.Loop(); i++ {
		w.request(http.MethodGet, "/api/v1/peers/"+ids[i%len(ids)], "", http.StatusOK)
	}
}

func BenchmarkChange(b *testing.B) {
	w, ids := crowded(b)
	for i := 0; b.Loop(); i++ {
		w.request(http.MethodPatch, "/api/v1/peers/"+ids[i%len(ids)], fmt.Sprintf(`{"speed_limit": {"download": %d}}`, 8000+i), http.StatusOK)
	}
}

func BenchmarkListPage(b *testing.B) {
	w, _ := crowded(b)
	for b.Loop() {
		w.request(http.MethodGet, "/api/v1/peers?limit=1000", "", http.StatusOK)
	}
}

// BenchmarkBulk creates and removes 10,000 peers with one request each.
func BenchmarkBulk(b *testing.B) {
	w := newWorld(b, func(c *wgnode.Config, _ *httpapi.Config) { c.UsageLog = nil })
	var create, remove strings.Builder
	for i := range api.MaxBulk {
		key := api.Key(newKey(b)).ID()
		separator := ","
		if i == 0 {
			separator = ""
		}
		fmt.Fprintf(&create, `%s{"public_key": %q, "name": "peer %d", "speed_limit": {"download": "20mbit"}}`, separator, key, i)
		fmt.Fprintf(&remove, `%s%q`, separator, key)
	}
	for b.Loop() {
		w.request(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": [`+create.String()+`]}`, http.StatusOK)
		w.request(http.MethodPost, "/api/v1/peers/bulk-delete", `{"ids": [`+remove.String()+`]}`, http.StatusNoContent)
	}
}
