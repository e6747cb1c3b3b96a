package httpapi_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi"
)

// described is an operation as the document has it.
type described struct {
	id, method, path string
	security         []map[string][]string
	body             map[string]any // the schema
	pointer          string         // of the operation in the document
	parameters       []parameter
	deprecated       bool
	summary          string
	responses        map[string]any
}

type parameter struct {
	Name, In string
	Required bool
	Schema   map[string]any
}

// operations are those of the document.
func operations(t testing.TB, handler *httpapi.API) []described {
	t.Helper()
	text, err := handler.OpenAPI()
	require.NoError(t, err)
	all, err := operationsOf(text)
	require.NoError(t, err)
	return all
}

func operationsOf(text []byte) ([]described, error) {
	var document struct {
		Paths map[string]map[string]struct {
			OperationID, Summary, Description string
			Security                          []map[string][]string
			Parameters                        []parameter
			Deprecated                        bool
			RequestBody                       struct {
				Content map[string]struct{ Schema map[string]any }
			}
			Responses map[string]any
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	var all []described
	for path, methods := range document.Paths {
		for method, op := range methods {
			d := described{
				id: op.OperationID, method: strings.ToUpper(method), path: path, security: op.Security, parameters: op.Parameters,
				deprecated: op.Deprecated, summary: op.Summary, responses: op.Responses,
				pointer: "/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + method,
			}
			if media, ok := op.RequestBody.Content["application/json"]; ok {
				d.body = media.Schema
			}
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b described) int { return strings.Compare(a.id, b.id) })
	return all, nil
}

func TestDocument(t *testing.T) {
	w := newWorld(t)
	all := operations(t, w.api)
	require.Len(t, all, 37, "operations")
	seen := map[string]bool{}
	for _, op := range all {
		require.NotEmpty(t, op.summary, op.id)
		require.NotEmpty(t, op.id)
		require.False(t, seen[op.id], op.id)
		seen[op.id] = true
		require.Equal(t, strings.HasPrefix(op.id, "legacy-"), op.deprecated, op.id)
		require.Contains(t, op.responses, "default", op.id)
	}
	text := string(w.do(http.MethodGet, "/openapi.json", "").is(http.StatusOK).body)
	require.NotContains(t, text, "ErrorModel")
	require.Contains(t, text, `"openapi": "3.1.0"`)
	r := w.do(http.MethodGet, "/openapi.yaml", "").is(http.StatusOK)
	require.Contains(t, string(r.body), "openapi: 3.1.0")
	r = w.do(http.MethodGet, "/docs", "").is(http.StatusOK)
	require.Equal(t, "text/html; charset=utf-8", r.header.Get("Content-Type"))
	require.Regexp(t, `^default-src 'none'; style-src 'sha256-[^']+'; `, r.header.Get("Content-Security-Policy"))
	for _, op := range all {
		require.Contains(t, string(r.body), `id="`+op.id+`"`)
	}
	require.NotContains(t, string(r.body), "<script")
	require.NotContains(t, string(r.body), "http://")
}
