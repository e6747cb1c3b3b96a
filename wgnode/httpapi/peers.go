package httpapi

import (
	"context"
	"net/http"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const peersPath = Prefix + "/peers"

type createPeer struct {
	bodyOf[api.PeerSpec]
	param.QR
}

type changePeer struct {
	param.Peer
	param.Conditions
	bodyOf[api.PeerSettings]
}

type rekeyPeer struct {
	param.Peer
	param.Conditions
	bodyOf[api.PeerKeys]
	param.QR
}

type removePeer struct {
	param.Peer
	param.Conditions
}

func (a *API) addPeerRoutes() {
	register(a, operation{
		id: "create-peer", method: http.MethodPost, path: peersPath, tag: "peers", scope: auth.PeersWrite, summary: "Create a peer",
		description: "When the answer comes, the peer is durable and can connect. Asking again for a peer with the same " +
			"public key and " +
			"specification changes nothing, and is answered with status 200.",
		status: http.StatusCreated, also: []int{http.StatusOK}, body: typeOf[api.PeerSpec](),
		refusals: []int{http.StatusConflict, http.StatusServiceUnavailable},
		example: map[string]any{"name": "Ada's phone", "speed_limit": map[string]any{"download": "20mbit", "upload": 5_000_000},
			"data_cap": map[string]any{"bytes": "100GiB", "period": map[string]any{"kind": "monthly"}}},
	}, a.createPeer)
	register(a, operation{
		id: "change-peer", method: http.MethodPatch, path: peersPath + "/{id}", tag: "peers", scope: auth.PeersWrite,
		summary: "Change a peer",
		description: "The body is a JSON merge patch (RFC 7396): what it leaves out stays, null takes away. All of it is " +
			"checked before the " +
			"first change is made, and what was changed is changed back when a later part fails.",
		refusals: []int{http.StatusNotFound, http.StatusPreconditionFailed}, body: typeOf[api.PeerSettings](), patch: true,
		example: map[string]any{"speed_limit": map[string]any{"download": "50mbit"}, "expires_at": nil},
	}, a.changePeer)
	register(a, operation{
		id: "remove-peer", method: http.MethodDelete, path: peersPath + "/{id}", tag: "peers", scope: auth.PeersWrite,
		summary:  "Remove a peer",
		refusals: []int{http.StatusNotFound, http.StatusPreconditionFailed},
	}, a.removePeer)
	register(a, operation{
		id: "rekey-peer", method: http.MethodPost, path: peersPath + "/{id}/rekey", tag: "peers", scope: auth.PeersWrite,
		summary:     "Give a peer other keys",
		description: "All else of it stays, but its id. The former key cannot connect any more from the moment the new one can.",
		refusals:    []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}, body: typeOf[api.PeerKeys](),
		example: map[string]any{},
	}, a.rekeyPeer)
}

func (a *API) createPeer(ctx context.Context, in *createPeer) (*tagged[api.CreatedPeer], error) {
	if err := a.checkQR(in.QR.QR, in.value.PublicKey); err != nil {
		return nil, err
	}
	release, err := a.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	specs := []wgnode.PeerSpec{peerSpec(in.value)}
	private := complete(ctx, specs)
	added, err := a.cfg.Node.AddPeer(ctx, specs[0])
	if err != nil {
		return nil, refusal(err)
	}
	added = took(ctx, added, private[0])
	created := a.created(ctx, added.Peer, added.PrivateKey, in.QR.QR)
	out := &tagged[api.CreatedPeer]{
		Status: http.StatusCreated, ETag: tag(created.Peer), Location: peersPath + "/" + created.ID, CacheControl: secret,
		Body: created,
	}
	if !added.Created {
		out.Status, out.Location = http.StatusOK, ""
	}
	return out, nil
}

// admit is share for new peers, which a drained node does not take.
func (a *API) admit(ctx context.Context) (release func(), err error) {
	release, err = a.locks.share(ctx)
	if err != nil {
		return nil, refusal(err)
	}
	if a.Draining() {
		release()
		return nil, problem.New(http.StatusServiceUnavailable, Draining, "the node takes no new peers: create them on another")
	}
	return release, nil
}

func (a *API) changePeer(ctx context.Context, in *changePeer) (*tagged[api.Peer], error) {
	release, err := a.hold(ctx, wgnode.OfPeer(in.Key()))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	peer, err := a.checkedPeer(in.Peer, in.Conditions)
	if err != nil {
		return nil, err
	}
	if err := a.patchPeer(ctx, peer, in.Body); err != nil {
		return nil, refusal(err)
	}
	if peer, err = a.cfg.Node.Peer(peer.PublicKey); err != nil {
		return nil, refusal(err)
	}
	view := peerOf(peer)
	return &tagged[api.Peer]{Status: http.StatusOK, ETag: tag(view), CacheControl: revalidate, Body: view}, nil
}

// checkedPeer is the peer, if the conditions are fulfilled.
func (a *API) checkedPeer(id param.Peer, c param.Conditions) (wgnode.Peer, error) {
	peer, err := a.cfg.Node.Peer(id.Key())
	if err != nil {
		return peer, refusal(err)
	}
	return peer, allowed(c, tag(peerOf(peer)))
}

func (a *API) removePeer(ctx context.Context, in *removePeer) (*struct{}, error) {
	release, err := a.hold(ctx, wgnode.OfPeer(in.Key()))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	if _, err := a.checkedPeer(in.Peer, in.Conditions); err != nil {
		return nil, gone(ctx, err)
	}
	return nil, refusal(gone(ctx, a.cfg.Node.RemovePeer(ctx, in.Key())))
}

func (a *API) rekeyPeer(ctx context.Context, in *rekeyPeer) (*tagged[api.CreatedPeer], error) {
	if err := a.checkQR(in.QR.QR, in.value.PublicKey); err != nil {
		return nil, err
	}
	release, err := a.hold(ctx, wgnode.OfPeer(in.Key()))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	keys := wgnode.PeerKeys{PublicKey: wgtypes.Key(in.value.PublicKey)}
	var private wgtypes.Key
	if keys.PublicKey == (wgtypes.Key{}) {
		if key, ok := drawKey(ctx, 0); ok {
			private, keys.PublicKey = key, key.PublicKey()
		}
	}
	if peer, err := a.cfg.Node.Peer(keys.PublicKey); err == nil && idempotency.Interrupted(ctx) {
		return a.rekeyed(ctx, wgnode.RekeyedPeer{Peer: peer, FormerKey: in.Key(), PrivateKey: private}, in.QR.QR), nil
	}
	if _, err := a.checkedPeer(in.Peer, in.Conditions); err != nil {
		return nil, err
	}
	if in.value.PresharedKey.Given {
		keys.PresharedKey = new(wgtypes.Key)
		if given := in.value.PresharedKey.Value; given != nil {
			*keys.PresharedKey = wgtypes.Key(*given)
		}
	}
	rekeyed, err := a.cfg.Node.RekeyPeer(ctx, in.Key(), keys)
	if err != nil {
		return nil, refusal(err)
	}
	if private != (wgtypes.Key{}) {
		rekeyed.PrivateKey = private
	}
	return a.rekeyed(ctx, rekeyed, in.QR.QR), nil
}

// rekeyed is the answer about a peer that has other keys.
func (a *API) rekeyed(ctx context.Context, rekeyed wgnode.RekeyedPeer, qr string) *tagged[api.CreatedPeer] {
	audit.AddSubject(ctx, subjectOf(wgnode.OfPeer(rekeyed.PublicKey)))
	created := a.created(ctx, rekeyed.Peer, rekeyed.PrivateKey, qr)
	created.FormerID = api.Key(rekeyed.FormerKey).ID()
	return &tagged[api.CreatedPeer]{
		Status: http.StatusOK, ETag: tag(created.Peer), Location: peersPath + "/" + created.ID, CacheControl: secret, Body: created,
	}
}
