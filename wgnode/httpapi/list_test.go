package httpapi_test

import (
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// What is there throughout is on one page of those that are read, once and in order, whatever is added and removed meanwhile.
func TestPages(t *testing.T) {
	w := newWorld(t)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{}`).is(http.StatusCreated)
	rapid.Check(t, func(t *rapid.T) {
		var keys []wgtypes.Key
		add := func(account string) {
			added, err := w.node.AddPeer(w.t.Context(), wgnode.PeerSpec{Account: account})
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, added.PublicKey)
		}
		defer func() {
			if err := w.node.RemovePeers(w.t.Context(), keys); err != nil {
				t.Fatal(err)
			}
		}()
		account := rapid.SampledFrom([]string{"", "a"}).Draw(t, "account")
		for range rapid.IntRange(0, 12).Draw(t, "peers") {
			add("a")
		}
		throughout := map[wgtypes.Key]bool{}
		for _, k := range keys {
			throughout[k] = true
		}
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		var seen []wgtypes.Key
		for cursor, pages := "", 0; ; pages++ {
			query := url.Values{"limit": {strconv.Itoa(limit)}, "account": {account}, "cursor": {cursor}}
			r, err := w.try(w.t.Context(), http.MethodGet, "/api/v1/peers?"+query.Encode(), "")
			if err != nil || r.status != http.StatusOK {
				t.Fatal(err, r.status, string(r.body))
			}
			list := decoded[api.PeerList](r)
			if len(list.Items) > limit {
				t.Fatalf("%d items of %d", len(list.Items), limit)
			}
			for _, p := range list.Items {
				seen = append(seen, wgtypes.Key(p.PublicKey))
			}
			if cursor = list.Next; cursor == "" {
				break
			}
			if pages < 10 && rapid.Bool().Draw(t, "add") {
				add("a")
			}
			if len(keys) > 0 && rapid.Bool().Draw(t, "remove") {
				i := rapid.IntRange(0, len(keys)-1).Draw(t, "which")
				if err := w.node.RemovePeer(w.t.Context(), keys[i]); err != nil {
					t.Fatal(err)
				}
				delete(throughout, keys[i])
				keys = append(keys[:i:i], keys[i+1:]...)
			}
		}
		times := map[wgtypes.Key]int{}
		for _, k := range seen {
			if times[k]++; times[k] > 1 {
				t.Fatalf("%s twice", k)
			}
		}
		for k := range throughout {
			if times[k] != 1 {
				t.Fatalf("%s not there", k)
			}
		}
	})
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/api/v1/peers", "/api/v1/accounts", "/api/peers"} {
		w.do(http.MethodGet, path+"?limit=0", "").faulty("query.limit")
		w.do(http.MethodGet, path+"?limit=1001", "").faulty("query.limit")
		w.do(http.MethodGet, path+"?cursor=abc&limit=x", "").faulty("query.limit")
		for _, cursor := range []string{"abc", "YWZ0ZXIgLTE", "YWZ0ZXIgMDE", "%00"} {
			w.do(http.MethodGet, path+"?cursor="+cursor, "").faulty("query.cursor")
		}
	}
	require.JSONEq(t, `{"items": []}`, string(w.do(http.MethodGet, "/api/v1/peers?account=nobody", "").is(http.StatusOK).body))
	for _, id := range []string{"x", "y", "z"} {
		w.do(http.MethodPut, "/api/v1/accounts/"+id, `{}`).is(http.StatusCreated)
	}
	first := decoded[api.AccountList](w.do(http.MethodGet, "/api/v1/accounts?limit=2", "").is(http.StatusOK))
	second := decoded[api.AccountList](w.do(http.MethodGet, "/api/v1/accounts?limit=2&cursor="+first.Next, "").is(http.StatusOK))
	require.Equal(t, []string{"x", "y"}, []string{first.Items[0].ID, first.Items[1].ID})
	require.Len(t, second.Items, 1)
	require.Empty(t, second.Next)
}

func TestPoolExhausted(t *testing.T) {
	pool := ipam.Config{Prefixes: prefixes("10.0.0.0/30")}
	w := newWorld(t, func(c *wgnode.Config, _ *httpapi.Config) { c.Pool = pool })
	w.create(`{}`)
	w.do(http.MethodPost, "/api/v1/peers", `{}`).refused(http.StatusConflict, httpapi.PoolExhausted)
	w.do(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": [{}]}`).refused(http.StatusConflict, httpapi.PoolExhausted)
	w.do(http.MethodPost, "/api/v1/peers", `{"addresses": ["10.0.0.3"]}`).refused(http.StatusConflict, problem.Conflict)
	w.do(http.MethodPost, "/api/v1/peers", `{"addresses": ["fd00::1"]}`).faulty("body.addresses[0]")
}

func TestNoEndpoint(t *testing.T) {
	w := newWorld(t, func(c *wgnode.Config, _ *httpapi.Config) { c.Endpoint = "" })
	w.do(http.MethodPost, "/api/v1/peers?qr=png", `{}`).refused(http.StatusConflict, problem.Conflict)
	p := w.create(`{}`)
	require.NotZero(t, p.PrivateKey)
	require.Empty(t, p.Config)
	w.do(http.MethodGet, "/api/v1/peers/"+p.ID+"/config", "").refused(http.StatusConflict, problem.Conflict)
}
