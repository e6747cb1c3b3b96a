package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestLegacy(t *testing.T) {
	w := newWorld(t)
	key := newKey(t).String()
	type flat struct {
		PublicKey        string `json:"public_key"`
		PrivateKey       string `json:"private_key"`
		Name, Config     string
		Addresses        []string
		Download, Upload uint64
		DataCap          uint64 `json:"data_cap"`
		Active           bool
	}
	p := decoded[flat](w.do(http.MethodPost, "/api/peers", `{"publicKey": "`+key+`", "name": "n", "download": "20mbit", "upload": 5000000,
		"dataCap": "5GiB", "expiresAt": "2099-01-01T00:00:00Z"}`).is(http.StatusCreated))
	require.Equal(t, key, p.PublicKey)
	require.Equal(t, []uint64{20_000_000, 5_000_000, 5 << 30}, []uint64{p.Download, p.Upload, p.DataCap})
	require.True(t, p.Active)
	made := decoded[flat](w.do(http.MethodPost, "/api/peers", `{}`).is(http.StatusCreated))
	require.NotEmpty(t, made.PrivateKey)
	require.Contains(t, made.Config, made.PrivateKey)

	id := decoded[api.Key](reply{t: t, body: []byte(`"` + key + `"`)}).ID()
	for _, name := range []string{"public_key", "publicKey"} {
		p = decoded[flat](w.do(http.MethodPost, "/api/peers/speed-limit", `{"`+name+`": "`+key+`", "download": "1mbit"}`).is(http.StatusOK))
		require.Equal(t, []uint64{1_000_000, 0}, []uint64{p.Download, p.Upload})
		p = decoded[flat](w.do(http.MethodPost, "/api/peers/data-cap", `{"`+name+`": "`+key+`", "data_cap": 7}`).is(http.StatusOK))
		require.EqualValues(t, 7, p.DataCap)
	}
	require.Equal(t, p, decoded[flat](w.do(http.MethodGet, "/api/peers/"+id, "").is(http.StatusOK)))
	list := decoded[struct {
		Peers []flat
		Next  string
	}](w.do(http.MethodGet, "/api/peers?limit=1", "").is(http.StatusOK))
	require.Equal(t, []flat{p}, list.Peers)
	require.NotEmpty(t, list.Next)

	w.do(http.MethodPost, "/api/peers/delete", `{"public_key": "`+id+`"}`).is(http.StatusNoContent)
	for _, path := range []string{"delete", "speed-limit", "data-cap"} {
		w.do(http.MethodPost, "/api/peers/"+path, `{"publicKey": "`+key+`"}`).refused(http.StatusNotFound, problem.NotFound)
		w.do(http.MethodPost, "/api/peers/"+path, `{}`).faulty("body")
		w.do(http.MethodPost, "/api/peers/"+path, `{"publicKey": "x", "colour": 1}`).faulty("body.public_key", "body.colour")
		w.do(http.MethodPost, "/api/peers/"+path, `{"publicKey": "`+key+`", "public_key": "`+key+`"}`).faulty("body.public_key")
	}
	w.do(http.MethodGet, "/api/peers/"+id, "").refused(http.StatusNotFound, problem.NotFound)
	w.do(http.MethodPost, "/api/peers", `{"dataCap": "9EiB"}`).faulty("body.data_cap")
	w.do(http.MethodPost, "/api/peers", `{"expires_at": "2001-01-01T00:00:00Z"}`).faulty("body.expires_at")
}
