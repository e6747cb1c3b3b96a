package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestPutAccount(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/accounts/a%2Fb%20c"
	r := w.do(http.MethodPut, path, `{"labels": {"plan": "gold"}, "speed_limit": {"upload": "1gbit"}, "data_cap": {"bytes": "1TB"}}`).
		is(http.StatusCreated)
	require.Equal(t, path, r.header.Get("Location"))
	var a api.Account
	r.into(&a)
	require.Equal(t, "a/b c", a.ID)
	require.EqualValues(t, 1_000_000_000_000, a.DataCap.Bytes)
	w.create(`{"account": "a/b c"}`)

	var b api.Account
	w.do(http.MethodPut, path, `{"labels": {"plan": "silver"}}`).is(http.StatusOK).into(&b)
	require.Equal(t, api.Account{ID: "a/b c", Labels: map[string]string{"plan": "silver"}, Peers: 1, CreatedAt: a.CreatedAt}, b)

	w.do(http.MethodPut, "/api/v1/accounts/%01", `{}`).faulty("path.id")
	w.do(http.MethodPut, path, `{"data_cap": {"bytes": "9EiB"}, "speed_limit": {"download": 3}, "labels": {"": "x"}}`).
		faulty("body.data_cap.bytes")
	w.do(http.MethodPut, path, `{"data_cap": {"period": {"window": "5m"}}, "speed_limit": {"download": 3}, "labels": {"": "x"}}`).
		faulty("body.data_cap.period.window", "body.speed_limit", `body.labels[""] key`)
	w.do(http.MethodPut, "/api/v1/accounts/"+strings.Repeat("x", 129), `{}`).faulty("path.id")
}

func TestChangeAccount(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/accounts/a"
	w.do(http.MethodPatch, path, `{"suspended": true}`).refused(http.StatusNotFound, problem.NotFound)
	w.do(http.MethodPut, path, `{"labels": {"a": "1", "b": "2"}, "speed_limit": {"upload": 8000}}`).is(http.StatusCreated)
	p := w.create(`{"account": "a"}`)

	var a api.Account
	w.do(http.MethodPatch, path, `{"suspended": true, "labels": {"a": null, "c": "3"}, "speed_limit": {"download": "9kbit"}}`).
		is(http.StatusOK).into(&a)
	require.True(t, a.Suspended)
	require.Equal(t, map[string]string{"b": "2", "c": "3"}, a.Labels)
	require.Equal(t, api.SpeedLimit{Download: 9000, Upload: 8000}, a.SpeedLimit)
	var peer api.Peer
	w.do(http.MethodGet, "/api/v1/peers/"+p.ID, "").into(&peer)
	require.True(t, peer.AccountSuspended)
	require.False(t, peer.Active)

	w.do(http.MethodPatch, path, `{"suspended": false, "data_cap": {"period": {"kind": "daily", "day": 3}}}`).faulty("body.data_cap.period.day")

	// A later part fails: the earlier one is taken back.
	var calls int
	w.dataplane.Intercept(func(_ ctx, op wgnodetest.Op) error {
		if op == wgnodetest.OpApply {
			if calls++; calls == 2 {
				return errBroken
			}
		}
		return nil
	})
	w.do(http.MethodPatch, path, `{"suspended": false, "speed_limit": null}`).refused(http.StatusInternalServerError, problem.Internal)
	w.dataplane.Intercept(nil)
	require.Equal(t, 3, calls)
	var now api.Account
	w.do(http.MethodGet, path, "").into(&now)
	require.Equal(t, a, now)
}

// All parts of a peer's patch are taken back when one fails, whichever it is.
func TestChangePeerTakenBack(t *testing.T) {
	w := newWorld(t)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{}`).is(http.StatusCreated)
	p := w.create(`{"data_cap": {"bytes": 1000}, "expires_at": "2099-01-01T00:00:00Z"}`)
	const patch = `{"account": "a", "speed_limit": {"download": 8000}, "expires_at": null, "grace_period": "1h", "idle_timeout": "1h",
		"data_cap": {"bytes": 2000}}`
	for failing := 1; ; failing++ {
		var calls int
		w.dataplane.Intercept(func(_ ctx, op wgnodetest.Op) error {
			if op == wgnodetest.OpApply {
				if calls++; calls == failing {
					return errBroken
				}
			}
			return nil
		})
		r := w.do(http.MethodPatch, "/api/v1/peers/"+p.ID, patch)
		w.dataplane.Intercept(nil)
		if r.status == http.StatusOK {
			require.Greater(t, failing, 3)
			return
		}
		r.refused(http.StatusInternalServerError, problem.Internal)
		var now api.Peer
		w.do(http.MethodGet, "/api/v1/peers/"+p.ID, "").is(http.StatusOK).into(&now)
		require.Equal(t, p.Peer, now, "call %d", failing)
	}
}

func TestRemoveAccount(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/accounts/a"
	w.do(http.MethodDelete, path, "").refused(http.StatusNotFound, problem.NotFound)
	w.do(http.MethodPut, path, `{}`).is(http.StatusCreated)
	w.do(http.MethodDelete, path, "").is(http.StatusNoContent)
	w.do(http.MethodPut, path, `{}`).is(http.StatusCreated)
	p := w.create(`{"account": "a"}`)
	w.do(http.MethodDelete, path, "").refused(http.StatusConflict, problem.Conflict)
	w.do(http.MethodDelete, path+"?peers=maybe", "").faulty("query.peers")
	w.do(http.MethodDelete, path+"?peers=true", "").is(http.StatusNoContent)
	w.do(http.MethodGet, "/api/v1/peers/"+p.ID, "").refused(http.StatusNotFound, problem.NotFound)
}

func TestAccountUsage(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/accounts/a"
	for _, part := range []string{"", "/usage"} {
		w.do(http.MethodGet, path+part, "").refused(http.StatusNotFound, problem.NotFound)
	}
	w.do(http.MethodPost, path+"/top-up", `{"bytes": 1}`).refused(http.StatusNotFound, problem.NotFound)
	w.do(http.MethodPost, path+"/reset-usage", "").refused(http.StatusNotFound, problem.NotFound)
	w.do(http.MethodPut, path, `{}`).is(http.StatusCreated)
	p := w.do(http.MethodPost, path+"/top-up", `{"bytes": 1}`).faulty("body.bytes")
	require.Contains(t, p.Faults[0].Message, "there is no data cap to top up")
	w.do(http.MethodPut, path, `{"data_cap": {"bytes": 5}}`).is(http.StatusOK)
	var usage api.Usage
	w.do(http.MethodPost, path+"/top-up", `{"bytes": "1KB"}`).is(http.StatusOK).into(&usage)
	require.EqualValues(t, 1005, usage.Limit)
	w.do(http.MethodPost, path+"/reset-usage", "").is(http.StatusOK)
	w.do(http.MethodGet, path+"/usage", "").is(http.StatusOK)
}
