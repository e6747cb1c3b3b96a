package sessiontest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a map shows: servers that can be had, nearest first, and nothing of their insides.
func TestNodesList(t *testing.T) {
	r := newRig(t)
	r.exec(`select waylume_register(jsonb_build_object('name', n.name, 'public_key', n.key, 'endpoint_v4', '198.51.100.7:51820',
			'api_url', n.api, 'country', 'AT', 'city', 'Wien', 'pool', n.pool, 'capacity', '{"peers": 10}'::jsonb,
			'position', '{"latitude": 48.2, "longitude": 16.37}'::jsonb))
		from (values ('vie-1', encode(sha256('1'), 'base64'), 'https://10.0.0.1:8443', 'default'),
			('vie-2', encode(sha256('2'), 'base64'), 'https://10.0.0.2:8443', 'premium'), ('mute', encode(sha256('3'), 'base64'), '', 'default'),
			('gone', encode(sha256('4'), 'base64'), 'https://10.0.0.4:8443', 'default')) n (name, key, api, pool)`)
	r.exec("update waylume_servers set heartbeat_at = now() - interval '2 minutes' where name = 'gone'")
	r.exec("update waylume_servers set peers = 6 where name = 'vie-2'")
	type server struct {
		Name, Country, City, Pool, Load string
		Distance                        *int
	}
	type list struct{ Servers []server }
	a := r.send(http.MethodGet, "/vpn-nodes-list", nil)
	require.Equal(t, []server{
		{"vie-1", "AT", "Wien", "default", "low", nil}, {"vie-2", "AT", "Wien", "premium", "medium", nil},
	}, read[list](r, a).Servers)
	for _, inside := range []string{"10.0.0", "198.51", "api", "key", "capacity", "peers"} {
		require.NotContains(t, string(a.body), inside)
	}
	require.Equal(t, "public, max-age=15", a.header.Get("Cache-Control"))
	require.Equal(t, "*", a.header.Get("Access-Control-Allow-Origin"))
	same := r.send(http.MethodGet, "/vpn-nodes-list", nil, "If-None-Match", a.header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, same.status)
	require.Empty(t, same.body)
	r.exec("update waylume_servers set peers = 8 where name = 'vie-2'")
	require.Equal(t, http.StatusOK, r.send(http.MethodGet, "/vpn-nodes-list", nil, "If-None-Match", a.header.Get("ETag")).status)

	a = r.send(http.MethodGet, "/vpn-nodes-list?pool=premium&latitude=50.11&longitude=8.68", nil)
	servers := read[list](r, a).Servers
	require.Len(t, servers, 1)
	require.Equal(t, "high", servers[0].Load)
	selected := value[int](r, `select distance
		from waylume_select('{"pool": "premium", "position": {"latitude": 50.11, "longitude": 8.68}}') where name = 'vie-2'`)
	require.Equal(t, selected, *servers[0].Distance)
	require.Equal(t, "private, max-age=15", a.header.Get("Cache-Control"))
	for _, query := range []string{"?latitude=1", "?latitude=x&longitude=2", "?latitude=91&longitude=2", "?country=AT", "?colour=red"} {
		r.refused(r.send(http.MethodGet, "/vpn-nodes-list"+query, nil), http.StatusBadRequest, "invalid")
	}
	// A page asks first whether it may.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, r.URL+"/connection-request", nil)
	require.NoError(t, err)
	allowed := r.do(req)
	require.Equal(t, http.StatusNoContent, allowed.status)
	require.Contains(t, allowed.header.Get("Access-Control-Allow-Headers"), "authorization")
}
