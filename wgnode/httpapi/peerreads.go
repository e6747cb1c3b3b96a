package httpapi

import (
	"context"
	"net/http"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

type listPeers struct {
	param.Page
	Account string `query:"account" maxLength:"128" doc:"Only this account's."`
}

type readPeer struct {
	param.Peer
	param.Conditions
}

type topUpPeer struct {
	param.Peer
	bodyOf[api.TopUp]
}

func (a *API) addPeerReadRoutes() {
	register(a, operation{
		id: "list-peers", method: http.MethodGet, path: peersPath, tag: "peers", scope: auth.PeersRead,
		summary: "List peers", description: "In the order in which they were added.",
	}, a.listPeers)
	register(a, operation{
		id: "get-peer", method: http.MethodGet, path: peersPath + "/{id}", tag: "peers", scope: auth.PeersRead,
		summary: "Show a peer", description: "What it used, and how it is connected, have paths of their own.",
		also: []int{http.StatusNotModified}, refusals: []int{http.StatusNotFound, http.StatusPreconditionFailed},
	}, a.getPeer)
	register(a, operation{
		id: "get-peer-config", method: http.MethodGet, path: peersPath + "/{id}/config", tag: "peers", scope: auth.PeersRead,
		summary:     "Show what a peer's device needs",
		refusals:    []int{http.StatusNotFound, http.StatusConflict},
		description: "Without secrets: the private key and the preshared key are shown when the peer is created, alone.",
	}, a.peerConfig)
	register(a, operation{
		id: "get-peer-usage", method: http.MethodGet, path: peersPath + "/{id}/usage", tag: "peers", scope: auth.PeersRead,
		summary: "Show what a peer used", refusals: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *struct{ param.Peer }) (*answer[api.Usage], error) {
		return a.usage(ctx, in.Subject())
	})
	register(a, operation{
		id: "get-peer-quality", method: http.MethodGet, path: peersPath + "/{id}/quality", tag: "peers", scope: auth.PeersRead,
		summary: "Show how a peer is connected", refusals: []int{http.StatusNotFound},
		description: "As far as the node can see; it asks nobody.",
	}, a.peerQuality)
	register(a, operation{
		id: "top-up-peer", method: http.MethodPost, path: peersPath + "/{id}/top-up", tag: "peers", scope: auth.PeersWrite,
		summary: "Give a peer more for the period that runs", description: "Its data cap stays. Asking twice gives twice.",
		refusals: []int{http.StatusNotFound}, body: typeOf[api.TopUp](), example: map[string]any{"bytes": "5GiB"},
	}, func(ctx context.Context, in *topUpPeer) (*answer[api.Usage], error) {
		return a.topUp(ctx, in.Subject(), in.value)
	})
	register(a, operation{
		id: "reset-peer-usage", method: http.MethodPost, path: peersPath + "/{id}/reset-usage", tag: "peers", scope: auth.PeersWrite,
		summary: "Forget what a peer used in the period that runs", refusals: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *struct{ param.Peer }) (*answer[api.Usage], error) {
		return a.resetUsage(ctx, in.Subject())
	})
}

func (a *API) listPeers(_ context.Context, in *listPeers) (*answer[api.PeerList], error) {
	items, next, err := peersPage(a, in, peerOf)
	if err != nil {
		return nil, err
	}
	return ok(api.PeerList{Items: items, Next: next}), nil
}

func peersPage[V any](a *API, in *listPeers, view func(wgnode.Peer) V) (items []V, next string, err error) {
	seen, err := after(in.Page)
	if err != nil {
		return nil, "", err
	}
	if err := a.running(); err != nil {
		return nil, "", err
	}
	peers := a.cfg.Node.Peers(wgnode.ListOptions{Account: in.Account, After: seen, Limit: in.Limit + 1})
	items, next = paged(peers, in.Limit, func(p wgnode.Peer) uint64 { return p.Sequence }, view)
	return items, next, nil
}

// ok is an answer that may be another one the next moment.
func ok[T any](body T) *answer[T] {
	return &answer[T]{Status: http.StatusOK, CacheControl: revalidate, Body: body}
}

func (a *API) getPeer(_ context.Context, in *readPeer) (*tagged[api.Peer], error) {
	peer, err := a.cfg.Node.Peer(in.Key())
	if err != nil {
		return nil, refusal(err)
	}
	return shown(peerOf(peer), in.Conditions)
}

// shown is the answer to a GET of what has a tag.
func shown[T any](view T, c param.Conditions) (*tagged[T], error) {
	out := &tagged[T]{Status: http.StatusOK, ETag: tag(view), CacheControl: revalidate, Body: view}
	same, err := notModified(c, out.ETag)
	if err != nil {
		return nil, err
	}
	if same {
		out.Status = http.StatusNotModified
	}
	return out, nil
}

func (a *API) peerConfig(_ context.Context, in *struct{ param.Peer }) (*answer[api.PeerConfig], error) {
	config, err := a.cfg.Node.ClientConfig(in.Key(), wgtypes.Key{})
	if noEndpoint(err) {
		return nil, errNoEndpoint()
	}
	if err != nil {
		return nil, refusal(err)
	}
	return ok(publicParts(config)), nil
}

func (a *API) peerQuality(_ context.Context, in *struct{ param.Peer }) (*answer[api.Quality], error) {
	quality, err := a.cfg.Node.PeerQuality(in.Key())
	if err != nil {
		return nil, refusal(err)
	}
	return ok(qualityOf(quality)), nil
}

func (a *API) usage(ctx context.Context, s wgnode.Subject) (*answer[api.Usage], error) {
	usage, err := a.cfg.Node.Usage(ctx, s)
	if err != nil {
		return nil, refusal(err)
	}
	return ok(usageOf(usage)), nil
}

func (a *API) topUp(ctx context.Context, s wgnode.Subject, more api.TopUp) (*answer[api.Usage], error) {
	if err := idempotency.Once(ctx); err != nil { // twice would be twice as much
		return nil, err
	}
	return a.thenUsage(ctx, s, func() error { return a.cfg.Node.TopUp(ctx, s, quota.Bytes(more.Bytes)) })
}

func (a *API) resetUsage(ctx context.Context, s wgnode.Subject) (*answer[api.Usage], error) {
	return a.thenUsage(ctx, s, func() error { return a.cfg.Node.ResetUsage(ctx, s) })
}

// thenUsage makes a change, and answers with the usage that there is then.
func (a *API) thenUsage(ctx context.Context, s wgnode.Subject, change func() error) (*answer[api.Usage], error) {
	release, err := a.hold(ctx, s)
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	if err := change(); err != nil {
		return nil, refusal(err)
	}
	return a.usage(ctx, s)
}
