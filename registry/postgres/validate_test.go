package postgres_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the functions are given by programs that do not validate is refused by themselves.
func TestFunctionsValidate(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	r := join(t, open(t, dsn), "fra-1")
	conn := sqlConn(t, dsn)
	good := map[string]map[string]any{
		"waylume_register": {
			"name": "fra-2", "public_key": keyText("fra-2"), "endpoint_v4": "192.0.2.1:51820", "endpoint_v6": "[2001:db8::1]:51820",
			"position": map[string]any{"latitude": 1, "longitude": 2.5}, "country": "DE", "features": []string{"ipv6"},
		},
		"waylume_heartbeat": {"server": r.Server, "incarnation": 1, "sequence": 1, "load": map[string]any{"score": 0.5}},
		"waylume_report_usage": {
			"server": r.Server, "sequence": 1, "from": "2026-11-21T12:00:00Z", "to": "2026-11-21T13:00:00+01:00", "usages": []any{},
		},
		"waylume_session_begin": {
			"user": "ann", "idempotency_key": "1", "public_key": keyText("ann"), "query": map[string]any{"region": ""},
			"expires_at": "2126-11-21T12:00:00.5Z",
		},
	}
	bad := map[string]map[string][]any{
		"waylume_register": {
			"name":        {nil, 1, "", "a b", "ä", strings.Repeat("x", 65)},
			"public_key":  {nil, "", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", true},
			"endpoint_v4": {"192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.256:1", "[::1]:1", 5},
			"endpoint_v6": {"::1:5", "[::g]:5", "[]:5"},
			"api_url":     {"ftp://x", "https://", "https://u@h", "https://h/p"}, "country": {"de", "D", "DEU"}, "features": {"x", []any{1}, []any{""}},
			"position": {1, map[string]any{"latitude": 91}, map[string]any{"longitude": "x"}},
			"capacity": {1, map[string]any{"peers": -1}, map[string]any{"rate": 1.5}},
			"city":     {"a\nb"},
		},
		"waylume_heartbeat": {
			"server": {"x", 1}, "incarnation": {0, "1", 1.5, 1e30}, "sequence": {nil, -1}, "health": {"well", 1}, "peers": {-1, 1e9},
			"load":     {1, map[string]any{"score": 2}, map[string]any{"scaling": "up"}},
			"draining": {"yes", 1}, "reasons": {[]any{nil}}, "released": {-1},
		},
		"waylume_report_usage": {
			"sequence": {0, nil}, "from": {nil, "yesterday", "2026-13-01T00:00:00Z", "2026-11-21T14:00:00Z"}, "to": {nil, 5},
			"usages": {1, []any{1}, []any{map[string]any{"public_key": "x"}}, []any{map[string]any{"public_key": keyText("a"), "download": -1}}},
		},
		"waylume_session_begin": {
			"user": {nil, ""}, "idempotency_key": {nil, 1}, "public_key": {nil}, "expires_at": {"soon", 1}, "query": {1, map[string]any{"family": 5},
				map[string]any{"session_key": "x"}, map[string]any{"current": "x"},
				map[string]any{"exclude": []any{"x"}}, map[string]any{"slack": 20001}},
		},
	}
	for function, fields := range bad {
		for field, values := range fields {
			for _, value := range values {
				in := maps.Clone(good[function])
				in[field] = value
				requireInvalid(t, conn, function, in)
			}
		}
		for _, in := range []any{nil, 1, "x", []any{}} {
			requireInvalid(t, conn, function, in)
		}
	}
	for _, function := range []string{"waylume_register", "waylume_heartbeat", "waylume_report_usage", "waylume_session_begin"} {
		in, err := json.Marshal(good[function])
		require.NoError(t, err)
		ask[[]byte](t, conn, "select "+function+"($1::jsonb)", string(in))
	}
}
