package httpapi

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// typeOf is short for the type of a body.
func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func (a *API) addBulkRoutes() {
	register(a, operation{
		id: "create-peers", method: http.MethodPost, path: peersPath + "/bulk-create", tag: "peers", scope: auth.PeersWrite,
		summary: "Create many peers, all or none",
		description: "In one change. Peers that are there with the same specification are no fault, so that a request may " +
			"be repeated. " +
			"Every specification that is at fault is named, with its place in the request.",
		refusals: []int{http.StatusConflict, http.StatusServiceUnavailable}, body: typeOf[api.BulkCreate](), maxBody: maxBulkBody,
		example: map[string]any{"peers": []any{map[string]any{"name": "one"}, map[string]any{"name": "two"}}},
	}, a.createPeers)
	register(a, operation{
		id: "remove-peers", method: http.MethodPost, path: peersPath + "/bulk-delete", tag: "peers", scope: auth.PeersWrite,
		summary: "Remove many peers, all or none", description: "Every peer that is not there is named, with its place in the request.",
		refusals: []int{http.StatusNotFound}, body: typeOf[api.BulkDelete](), maxBody: maxBulkBody,
	}, a.removePeers)
}

func (a *API) createPeers(ctx context.Context, in *struct{ bodyOf[api.BulkCreate] }) (*answer[api.BulkCreated], error) {
	specs := make([]wgnode.PeerSpec, len(in.value.Peers))
	for i, s := range in.value.Peers {
		specs[i] = peerSpec(s)
	}
	release, err := a.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	private := complete(ctx, specs)
	added, err := a.cfg.Node.AddPeers(ctx, specs)
	if err != nil {
		return nil, refusal(err)
	}
	created := api.BulkCreated{Peers: make([]api.CreatedPeer, len(added))}
	for i, p := range added {
		p = took(ctx, p, private[i])
		created.Peers[i] = a.created(ctx, p.Peer, p.PrivateKey, "none")
	}
	return &answer[api.BulkCreated]{Status: http.StatusOK, CacheControl: secret, Body: created}, nil
}

func (a *API) removePeers(ctx context.Context, in *struct{ bodyOf[api.BulkDelete] }) (*struct{}, error) {
	keys := make([]wgtypes.Key, len(in.value.IDs))
	for i, id := range in.value.IDs {
		keys[i] = wgtypes.Key(id)
	}
	release, err := a.locks.share(ctx)
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	for _, key := range keys {
		audit.AddSubject(ctx, subjectOf(wgnode.OfPeer(key)))
	}
	if idempotency.Interrupted(ctx) { // all were removed then, or none
		keys = slices.DeleteFunc(keys, func(key wgtypes.Key) bool {
			_, err := a.cfg.Node.Peer(key)
			return errors.Is(err, wgnode.ErrNotFound)
		})
	}
	return nil, refusal(a.cfg.Node.RemovePeers(ctx, keys))
}
