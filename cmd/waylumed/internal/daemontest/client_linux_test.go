package daemontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const (
	onSocket = "http://node" // before the path of a request over a unix socket
	peers    = "/api/v1/peers"
)

// reply is an answer that was read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ask makes a request: body is what becomes JSON, bytes that are sent as they are, or nil. Headers come in pairs.
func ask(client *http.Client, method, url string, body any, headers ...string) (reply, error) {
	var data []byte
	switch body := body.(type) {
	case nil:
	case []byte:
		data = body
	default:
		var err error
		if data, err = json.Marshal(body); err != nil {
			return reply{}, err
		}
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(data))
	if err != nil {
		return reply{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	got, err := io.ReadAll(res.Body)
	if closed := res.Body.Close(); err == nil {
		err = closed
	}
	return reply{res.StatusCode, res.Header, got}, err
}

// must makes a request that has to be answered with a status, and reads the answer.
func must[T any](tb testing.TB, client *http.Client, status int, method, url string, body any, headers ...string) (out T) {
	tb.Helper()
	r, err := ask(client, method, url, body, headers...)
	require.NoError(tb, err)
	require.Equal(tb, status, r.status, "%s %s: %s", method, url, r.body)
	if len(r.body) > 0 {
		require.NoError(tb, json.Unmarshal(r.body, &out), "%s", r.body)
	}
	return out
}

// refused makes a request that has to be refused, with a problem of that type.
func refused(tb testing.TB, client *http.Client, status int, kind problem.Type, method, url string, body any, headers ...string) problem.Problem {
	tb.Helper()
	r, err := ask(client, method, url, body, headers...)
	require.NoError(tb, err)
	return r.problem(tb, status, kind)
}

func (r reply) problem(tb testing.TB, status int, kind problem.Type) (p problem.Problem) {
	tb.Helper()
	require.Equal(tb, status, r.status, "%s", r.body)
	require.Equal(tb, problem.ContentType, r.header.Get("Content-Type"), "%s", r.body)
	require.NoError(tb, json.Unmarshal(r.body, &p))
	require.Equal(tb, kind, p.Type, "%s", r.body)
	require.NotEmpty(tb, p.Detail)
	return p
}

// allPeers lists the peers, page by page.
func allPeers(tb testing.TB, client *http.Client, base string) (all []api.Peer) {
	tb.Helper()
	for cursor := ""; ; {
		page := must[api.PeerList](tb, client, http.StatusOK, http.MethodGet, fmt.Sprintf("%s%s?limit=500&cursor=%s", base, peers, cursor), nil)
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}
