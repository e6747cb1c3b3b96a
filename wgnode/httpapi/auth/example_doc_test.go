package auth_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// The worked example of docs/trust.md is a request that the node lets through.
func TestDocumentedExample(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/trust.md")
	require.NoError(t, err)
	find := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(string(doc))
		require.Len(t, m, 2, pattern)
		return m[1]
	}
	a := newAuth(t, auth.Config{
		Now: func() time.Time { return time.Unix(1790000003, 0) },
		Trust: auth.Trust{Audience: "fra-1", Keys: []auth.KeySource{{
			Type: auth.HMAC, ID: "control-plane-1", Secret: []byte(find("secret is `([^`]+)`")), Scopes: auth.Scopes(),
		}}},
	})
	target, body := find(`(?m)^POST (\S+) HTTP/1.1$`), find(`(?m)^(\{"name":.*\})$`)
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	req.Header.Set("Authorization", find(`(?m)^Authorization: (Bearer \S+)$`))
	w := httptest.NewRecorder()
	a.Middleware(http.HandlerFunc(echo)).ServeHTTP(w, req)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Contains(t, w.Body.String(), `"Name":"control-plane","Method":"jwt","KeyID":"control-plane-1","Scopes":["peers:write"]`)
}
