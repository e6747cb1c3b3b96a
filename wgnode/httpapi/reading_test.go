package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// failing is a body that fails after a beginning.
type failing struct{ err error }

func (f failing) Read(b []byte) (int, error) { return copy(b, `{"name":`), f.err }

// TestBodyFails has bodies fail on their way, which is no fault of the node's.
func TestBodyFails(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		err    error
		status int
		kind   problem.Type
	}{
		{io.ErrUnexpectedEOF, http.StatusBadRequest, problem.Malformed},
		{fmt.Errorf("read: %w", net.ErrClosed), http.StatusBadRequest, problem.Malformed},
		{&http.MaxBytesError{Limit: 8}, http.StatusRequestEntityTooLarge, problem.TooLarge},
	} {
		for _, path := range []string{"/api/v1/peers", "/api/peers"} {
			req := httptest.NewRequest(http.MethodPost, path, failing{c.err})
			req.Header.Set("Content-Type", "application/json")
			req = req.WithContext(auth.NewContext(req.Context(), auth.Principal{Name: "test", Scopes: []auth.Scope{auth.PeersWrite}}))
			got := httptest.NewRecorder()
			w.api.ServeHTTP(got, req)
			require.Equal(t, c.status, got.Code, "%s: %s", path, got.Body)
			require.Equal(t, problem.ContentType, got.Header().Get("Content-Type"))
			var p problem.Problem
			require.NoError(t, json.NewDecoder(strings.NewReader(got.Body.String())).Decode(&p))
			require.Equal(t, c.kind, p.Type)
			require.Equal(t, c.status, p.Status)
		}
	}
	require.NotContains(t, w.log.String(), "request failed")
	require.Zero(t, w.node.Totals().Active)
}
