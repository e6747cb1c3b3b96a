package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestCreatePeer(t *testing.T) {
	w := newWorld(t)
	r := w.do(http.MethodPost, "/api/v1/peers?qr=svg", `{"name": "phone", "labels": {"a": "b"},
		"speed_limit": {"download": "20mbit", "upload": 5000000},
		"data_cap": {"bytes": "5GiB", "period": {"kind": "monthly", "day": 3}, "at_end": "throttle", "throttle_download": "64kbit"},
		"expires_at": "2099-01-01T00:00:00Z", "grace_period": "72h", "idle_timeout": "24h"}`).is(http.StatusCreated)
	var p api.CreatedPeer
	r.into(&p)
	require.Equal(t, "/api/v1/peers/"+p.ID, r.header.Get("Location"))
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	require.NotZero(t, p.PrivateKey)
	require.Contains(t, p.Config, "PrivateKey = "+p.PrivateKey.String())
	require.Equal(t, "image/svg+xml", p.QR.MediaType)
	require.True(t, strings.HasPrefix(string(p.QR.Data), "<svg "))
	require.Equal(t, api.SpeedLimit{Download: 20_000_000, Upload: 5_000_000}, p.SpeedLimit)
	require.EqualValues(t, 5<<30, p.DataCap.Bytes)
	require.Equal(t, api.Period{Kind: "monthly", Day: 3}, p.DataCap.Period)
	require.EqualValues(t, 64_000, p.DataCap.ThrottleDownload)
	require.Equal(t, api.Duration(72*time.Hour), p.GracePeriod)
	require.Len(t, p.Addresses, 2)

	// Every spelling of the key is the peer's id, and the answer has the same tag.
	for _, id := range []string{p.ID, p.ID + "=", url.PathEscape(p.PublicKey.String())} {
		got := w.do(http.MethodGet, "/api/v1/peers/"+id, "").is(http.StatusOK)
		require.Equal(t, r.header.Get("ETag"), got.header.Get("ETag"))
		require.NotContains(t, string(got.body), "private")
	}

	var png api.CreatedPeer
	w.do(http.MethodPost, "/api/v1/peers?qr=png", `{}`).is(http.StatusCreated).into(&png)
	require.Equal(t, "\x89PNG", string(png.QR.Data[:4]))
}

func TestCreatePeerAgain(t *testing.T) {
	w := newWorld(t)
	key := newKey(t).String()
	body := `{"public_key": "` + key + `", "name": "a"}`
	p := w.create(body)
	require.Zero(t, p.PrivateKey)
	require.Contains(t, p.Config, "PrivateKey") // as a comment
	w.do(http.MethodPost, "/api/v1/peers", body).is(http.StatusOK)
	w.do(http.MethodPost, "/api/v1/peers", `{"public_key": "`+key+`", "name": "b"}`).refused(http.StatusConflict, problem.Conflict)
	w.do(http.MethodPost, "/api/v1/peers?qr=png", `{"public_key": "`+newKey(t).String()+`"}`).faulty("query.qr")
	address := p.Addresses[0].String()
	w.do(http.MethodPost, "/api/v1/peers", `{"addresses": ["`+address+`"]}`).refused(http.StatusConflict, problem.Conflict)
}

// All that is wrong is told at once, whether the schema, decoding or the node finds it.
func TestCreatePeerFaults(t *testing.T) {
	w := newWorld(t)
	w.do(http.MethodPost, "/api/v1/peers?colour=red", `{}`).faulty("query.colour")
	w.do(http.MethodPost, "/api/v1/peers?qr=jpeg&colour=red", `{"colour": "red"}`).faulty("query.colour", "query.qr", "body.colour")
	w.do(http.MethodPost, "/api/v1/peers?qr=jpeg", `{"name": 7, "public_key": "short", "speed_limit": {"download": "fast", "upload": -1},
		"data_cap": {"bytes": "5G", "counted": "twice", "period": {"window": "3d"}, "thresholds": [0, 101, 50]}, "addresses": ["nowhere"],
		"expires_at": "tomorrow", "idle_timeout": 5, "Labels": {"a": "b"}, "color": "red"}`).
		faulty("query.qr", "body.name", "body.public_key", "body.speed_limit.download", "body.speed_limit.upload",
			"body.data_cap.bytes", "body.data_cap.counted", "body.data_cap.period.window", "body.data_cap.thresholds[0]",
			"body.data_cap.thresholds[1]", "body.addresses[0]", "body.expires_at", "body.idle_timeout", "body.Labels", "body.color")
	p := w.do(http.MethodPost, "/api/v1/peers", `{"account": "nobody", "addresses": ["192.0.2.1"], "expires_at": "2001-01-01T00:00:00Z",
		"speed_limit": {"upload": 7}, "data_cap": {"at_end": "throttle", "period": {"kind": "rolling"}}, "idle_timeout": "1m",
		"labels": {"\u0001": "x"}}`).
		faulty("body.account", "body.addresses[0]", "body.expires_at", "body.speed_limit", "body.data_cap.at_end",
			"body.data_cap.period.window", "body.idle_timeout", `body.labels["\x01"] key`)
	w.do(http.MethodPost, "/api/v1/peers", `{"data_cap": {"thresholds": [{}, {}]}}`).
		faulty("body.data_cap.thresholds[0]", "body.data_cap.thresholds[1]")
	w.do(http.MethodPost, "/api/v1/peers", `{"data_cap": {"thresholds": [50, 50]}}`).faulty("body.data_cap.thresholds[1]")
	w.do(http.MethodPost, "/api/v1/peers", `{"expires_at": "9999-12-31T23:59:59-12:00"}`).faulty("body.expires_at")
	for _, f := range p.Faults {
		require.NotRegexp(t, `PutAccount|AtEnd|ThrottleDownload|wgnode`, f.Message)
	}
}

func TestChangePeer(t *testing.T) {
	w := newWorld(t)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{}`).is(http.StatusCreated)
	p := w.create(`{"speed_limit": {"download": 10000, "upload": 20000}, "expires_at": "2099-01-01T00:00:00Z",
		"data_cap": {"bytes": 1000, "period": {"kind": "weekly", "weekday": "tuesday"}}}`)
	path := "/api/v1/peers/" + p.ID

	var after api.Peer
	w.do(http.MethodPatch, path, `{"speed_limit": {"upload": "1mbit"}, "expires_at": null, "suspended": true, "account": "a",
		"data_cap": {"bytes": "9007199254740993"}, "grace_period": "1h", "idle_timeout": "10m"}`,
		"Content-Type", "application/merge-patch+json").is(http.StatusOK).into(&after)
	want := p.Peer
	want.SpeedLimit.Upload, want.ExpiresAt, want.Suspended, want.Active, want.Account = 1_000_000, time.Time{}, true, false, "a"
	want.DataCap.Bytes, want.GracePeriod, want.IdleTimeout = 1<<53+1, api.Duration(time.Hour), api.Duration(10*time.Minute)
	require.Equal(t, want, after)

	w.do(http.MethodPatch, path, `{"data_cap": null, "suspended": null, "account": null, "speed_limit": null}`).is(http.StatusOK)
	var none, again api.Peer
	w.do(http.MethodGet, path, "").is(http.StatusOK).into(&none)
	require.Nil(t, none.DataCap)
	require.True(t, none.Active)
	require.Empty(t, none.Account)
	require.Zero(t, none.SpeedLimit)
	w.do(http.MethodPatch, path, `{}`).is(http.StatusOK).into(&again)
	require.Equal(t, none, again)
}

// A patch with a fault changes nothing, and names all of its faults.
func TestChangePeerFaults(t *testing.T) {
	w := newWorld(t)
	p := w.create(`{}`)
	path := "/api/v1/peers/" + p.ID
	w.do(http.MethodPatch, path, `{"suspended": true, "speed_limit": {"upload": 1, "download": "20mbit"}, "account": "b",
		"data_cap": {"at_end": "throttle", "period": {"hour": 3}}, "expires_at": "2001-01-01T00:00:00Z", "grace_period": "-1h",
		"idle_timeout": "1s"}`).
		faulty("body.account", "body.speed_limit.upload", "body.data_cap.at_end", "body.data_cap.period.hour", "body.expires_at",
			"body.grace_period", "body.idle_timeout")
	w.do(http.MethodPatch, path, `{"name": "new", "Suspended": true, "idle_timeout": "soon"}`).
		faulty("body.name", "body.Suspended", "body.idle_timeout")
	w.do(http.MethodPatch, path, `[]`).faulty("body")
	w.do(http.MethodPatch, path, `null`).faulty("body")
	var now api.Peer
	w.do(http.MethodGet, path, "").is(http.StatusOK).into(&now)
	require.Equal(t, p.Peer, now)
	w.do(http.MethodPatch, "/api/v1/peers/"+api.Key(newKey(t)).ID(), `{"suspended": true}`).refused(http.StatusNotFound, problem.NotFound)
}

func TestRemoveAndRekeyPeer(t *testing.T) {
	w := newWorld(t)
	p := w.create(`{"preshared_key": "` + newKey(t).String() + `"}`)
	require.True(t, p.HasPresharedKey)
	other := w.create(`{}`)

	r := w.do(http.MethodPost, "/api/v1/peers/"+p.ID+"/rekey?qr=png", `{"preshared_key": null}`).is(http.StatusOK)
	var rekeyed api.CreatedPeer
	r.into(&rekeyed)
	require.Equal(t, p.ID, rekeyed.FormerID)
	require.NotEqual(t, p.ID, rekeyed.ID)
	require.False(t, rekeyed.HasPresharedKey)
	require.NotZero(t, rekeyed.PrivateKey)
	require.Equal(t, "image/png", rekeyed.QR.MediaType)
	require.Equal(t, "/api/v1/peers/"+rekeyed.ID, r.header.Get("Location"))
	w.do(http.MethodGet, "/api/v1/peers/"+p.ID, "").refused(http.StatusNotFound, problem.NotFound)
	w.do(http.MethodPost, "/api/v1/peers/"+rekeyed.ID+"/rekey", `{"public_key": "`+other.PublicKey.String()+`"}`).
		refused(http.StatusConflict, problem.Conflict)

	w.do(http.MethodDelete, "/api/v1/peers/"+rekeyed.ID, "").is(http.StatusNoContent)
	w.do(http.MethodDelete, "/api/v1/peers/"+rekeyed.ID, "").refused(http.StatusNotFound, problem.NotFound)
	w.do(http.MethodDelete, "/api/v1/peers/nobody", "").faulty("path.id")
}

func TestPeerParts(t *testing.T) {
	w := newWorld(t)
	preshared := newKey(t).String()
	p := w.create(`{"data_cap": {"bytes": 1000}, "preshared_key": "` + preshared + `"}`)
	path := "/api/v1/peers/" + p.ID

	r := w.do(http.MethodGet, path+"/config", "").is(http.StatusOK)
	var config api.PeerConfig
	r.into(&config)
	require.Equal(t, p.Addresses, config.Addresses)
	require.Equal(t, "vpn.example.com:51820", config.Endpoint)
	require.True(t, config.HasPresharedKey)
	require.NotContains(t, string(r.body), preshared)

	var usage api.Usage
	w.do(http.MethodPost, path+"/top-up", `{"bytes": "1KiB"}`).is(http.StatusOK).into(&usage)
	require.EqualValues(t, 2024, usage.Limit)
	w.do(http.MethodGet, path+"/usage", "").is(http.StatusOK).into(&usage)
	require.EqualValues(t, 2024, usage.Remaining)
	w.do(http.MethodPost, path+"/top-up", `{"bytes": 0}`).faulty("body.bytes")
	w.do(http.MethodPost, path+"/top-up", `{}`).faulty("body")
	w.do(http.MethodPost, path+"/reset-usage", "").is(http.StatusOK).into(&usage)
	require.Zero(t, usage.Used)

	var quality api.Quality
	w.do(http.MethodGet, path+"/quality", "").is(http.StatusOK).into(&quality)
	require.NotEmpty(t, quality.State)
	for _, part := range []string{"/config", "/usage", "/quality"} {
		w.do(http.MethodGet, "/api/v1/peers/"+api.Key(newKey(t)).ID()+part, "").refused(http.StatusNotFound, problem.NotFound)
	}
}

func TestBulk(t *testing.T) {
	w := newWorld(t)
	a, b := newKey(t).String(), newKey(t).String()
	var created api.BulkCreated
	w.do(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": [{"public_key": "`+a+`"}, {"public_key": "`+b+`"}, {"name": "c"}]}`).
		is(http.StatusOK).into(&created)
	require.Len(t, created.Peers, 3)
	require.Equal(t, a, created.Peers[0].PublicKey.String())
	require.NotZero(t, created.Peers[2].PrivateKey)

	// One fault, and nothing is done.
	w.do(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": [{"name": "d"}, {"account": "nobody"}, 
		{"idle_timeout": "1s", "speed_limit": {"upload": 1}}]}`).
		faulty("body.peers[1].account", "body.peers[2].idle_timeout", "body.peers[2].speed_limit")
	w.do(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": [{"name": "d"}, {"public_key": "`+a+`", "name": "x"}]}`).
		refused(http.StatusConflict, problem.Conflict)
	w.do(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": [{"idle_timeout": "x"}, {"public_key": 1}]}`).
		faulty("body.peers[0].idle_timeout", "body.peers[1].public_key")
	w.do(http.MethodPost, "/api/v1/peers/bulk-create", `{"peers": []}`).faulty("body.peers")
	w.do(http.MethodPost, "/api/v1/peers/bulk-delete", `{"ids": ["`+a+`", "`+newKey(t).String()+`"]}`).
		refused(http.StatusNotFound, problem.NotFound)
	var list api.PeerList
	w.do(http.MethodGet, "/api/v1/peers", "").is(http.StatusOK).into(&list)
	require.Len(t, list.Items, 3)

	w.do(http.MethodPost, "/api/v1/peers/bulk-delete", `{"ids": ["`+a+`", "`+created.Peers[1].ID+`", "`+b+`"]}`).is(http.StatusNoContent)
	w.do(http.MethodGet, "/api/v1/peers", "").is(http.StatusOK).into(&list)
	require.Len(t, list.Items, 1)
}

func TestTooManyFaults(t *testing.T) {
	w := newWorld(t)
	peers := make([]map[string]any, 1000)
	for i := range peers {
		peers[i] = map[string]any{"account": "nobody"}
	}
	body, err := json.Marshal(map[string]any{"peers": peers})
	require.NoError(t, err)
	p := w.do(http.MethodPost, "/api/v1/peers/bulk-create", string(body)).refused(http.StatusUnprocessableEntity, problem.Invalid)
	require.Len(t, p.Faults, 100)
	require.Contains(t, p.Detail, "1000")
}
