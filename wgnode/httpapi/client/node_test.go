package client_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// flaky breaks the connection of every other request after it was carried out, before it is answered.
type flaky struct {
	next http.Handler

	mu     sync.Mutex
	broken map[string]bool // by key
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	f.mu.Lock()
	first := key != "" && !f.broken[key]
	f.broken[key] = true
	f.mu.Unlock()
	if first {
		f.next.ServeHTTP(httptest.NewRecorder(), r)
		drop(w, r)
		return
	}
	f.next.ServeHTTP(w, r)
}

// realAPI is a client of a real node, behind keys that it honours and a connection that breaks in each write.
func realAPI(t *testing.T) (*client.Client, *wgnode.Node) {
	t.Helper()
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane(), Endpoint: "vpn.example.com:51820",
		Store: wgnode.NewMemoryStore()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	require.NoError(t, node.Start(t.Context()))
	served, err := httpapi.New(httpapi.Config{Node: node})
	require.NoError(t, err)
	keys, err := idempotency.New(t.Context(), idempotency.Config{Store: idempotency.NewMemoryStore()})
	require.NoError(t, err)
	kept := keys.Middleware(served)
	listening := httptest.NewServer(&flaky{broken: map[string]bool{}, next: http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		who := auth.Principal{Name: "test", Scopes: []auth.Scope{auth.PeersRead, auth.PeersWrite, auth.NodeAdmin}}
		kept.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), who)))
	})})
	t.Cleanup(listening.Close)
	c, err := client.New(client.Config{URL: listening.URL})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, node
}

// Each write is done once, and answered as the first time, though its answer is lost.
func TestRealNode(t *testing.T) {
	c, node := realAPI(t)
	ctx := t.Context()
	created, err := c.CreatePeer(ctx, api.PeerSpec{Name: "phone", DataCap: &api.DataCap{Bytes: 1000}})
	require.NoError(t, err)
	require.Equal(t, created.PublicKey, api.Key(wgtypes.Key(created.PrivateKey).PublicKey()))
	require.Contains(t, created.Config, created.PrivateKey.String())
	require.Equal(t, 1, status(t, node).Peers)

	usage, err := c.TopUpPeer(ctx, created.PublicKey, 500)
	require.NoError(t, err)
	require.EqualValues(t, 1500, usage.Limit, "once")

	p, etag, err := c.Peer(ctx, created.PublicKey)
	require.NoError(t, err)
	limited, next, err := c.PatchPeer(ctx, p.PublicKey, api.PeerPatch{
		SpeedLimit: api.Set(api.SpeedLimitPatch{Download: api.Set(api.Rate(8_000_000))}), Suspended: api.Set(true),
	}, client.IfMatch(etag))
	require.NoError(t, err, "the first time changed the tag")
	require.Equal(t, api.SpeedLimit{Download: 8_000_000}, limited.SpeedLimit)
	require.True(t, limited.Suspended)
	_, _, err = c.PatchPeer(ctx, p.PublicKey, api.PeerPatch{Suspended: api.Null[bool]()}, client.IfMatch(etag))
	require.ErrorIs(t, err, client.ErrPreconditionFailed)
	require.NotEqual(t, etag, next)

	rekeyed, err := c.RekeyPeer(ctx, p.PublicKey, api.PeerKeys{})
	require.NoError(t, err)
	require.Equal(t, p.ID, rekeyed.FormerID)
	_, _, err = c.Peer(ctx, p.PublicKey)
	require.ErrorIs(t, err, client.ErrNotFound)
	require.NoError(t, c.DeletePeer(ctx, rekeyed.PublicKey))
	require.Zero(t, status(t, node).Peers)

	_, _, err = c.PatchPeer(ctx, p.PublicKey, api.PeerPatch{Account: api.Set("nobody")})
	require.ErrorIs(t, err, client.ErrNotFound)
	_, err = c.CreatePeer(ctx, api.PeerSpec{Account: "nobody", GracePeriod: -1})
	require.ErrorIs(t, err, client.ErrInvalid)
	var refused *problem.Problem
	require.ErrorAs(t, err, &refused)
	require.Equal(t, problem.Invalid, refused.Type)
	require.NotEmpty(t, refused.Faults)
	_, err = c.CreatePeer(ctx, api.PeerSpec{Name: "a"}, client.IdempotencyKey("the-same-key"))
	require.NoError(t, err)
	_, err = c.CreatePeer(ctx, api.PeerSpec{Name: "b"}, client.IdempotencyKey("the-same-key"))
	require.ErrorIs(t, err, client.ErrConflict)
}

func TestRealNodeAsAWhole(t *testing.T) {
	c, node := realAPI(t)
	ctx := t.Context()
	specs := make([]api.PeerSpec, 250)
	for i := range specs {
		specs[i] = api.PeerSpec{Name: fmt.Sprint("peer-", i)}
	}
	created, err := c.CreatePeers(ctx, specs)
	require.NoError(t, err)
	require.Len(t, created, len(specs))
	var names []string
	for p, err := range c.Peers(ctx, client.PeerQuery{Page: 100}) {
		require.NoError(t, err)
		names = append(names, p.Name)
	}
	require.Len(t, names, len(specs))
	require.Equal(t, "peer-0", names[0])
	require.NoError(t, c.DeletePeers(ctx, []api.Key{created[0].PublicKey, created[1].PublicKey}))
	require.Equal(t, 248, status(t, node).Peers)

	account, etag, err := c.PutAccount(ctx, "family/ü", api.AccountSpec{SpeedLimit: api.SpeedLimit{Upload: 8000}})
	require.NoError(t, err)
	require.NotEmpty(t, etag)
	require.Equal(t, "family/ü", account.ID)
	account, _, err = c.PatchAccount(ctx, account.ID,
		api.AccountPatch{DataCap: api.Set(api.DataCapPatch{Bytes: api.Set(api.Bytes(5))})})
	require.NoError(t, err)
	require.EqualValues(t, 5, account.DataCap.Bytes)
	_, _, err = c.PatchPeer(ctx, created[2].PublicKey, api.PeerPatch{Account: api.Set(account.ID)})
	require.NoError(t, err)
	require.ErrorIs(t, c.DeleteAccount(ctx, account.ID, false), client.ErrConflict)
	require.NoError(t, c.DeleteAccount(ctx, account.ID, true))
	require.Equal(t, 247, status(t, node).Peers)

	drained, err := c.Drain(ctx)
	require.NoError(t, err)
	require.True(t, drained.Draining)
	_, err = c.CreatePeer(ctx, api.PeerSpec{})
	var refusal *client.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, httpapi.Draining, refusal.Problem.Type)
	health, err := c.Ready(ctx)
	require.NoError(t, err)
	require.Equal(t, "ok", health.Status, "a drained node is ready")
	repairs, err := c.Sync(ctx)
	require.NoError(t, err)
	require.Empty(t, repairs)
	require.NoError(t, node.Close())
	health, err = c.Ready(ctx)
	require.NoError(t, err)
	require.Equal(t, "failing", health.Status)
	_, err = c.Usage(ctx, client.UsageQuery{})
	require.Error(t, err)
	require.NotErrorIs(t, err, client.ErrAnswer)
}

func status(t *testing.T, node *wgnode.Node) wgnode.Status {
	t.Helper()
	s, err := node.Status(t.Context())
	require.NoError(t, err)
	return s
}
