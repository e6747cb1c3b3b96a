package httpapi

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const nodePath = Prefix + "/node"

func (a *API) addNodeRoutes() {
	register(a, operation{
		id: "get-node", method: http.MethodGet, path: nodePath, tag: "node", scope: auth.NodeAdmin,
		summary: "Show the node", description: "Its state, what is wrong with it, its addresses, its dataplane and its public key.",
	}, func(ctx context.Context, _ *struct{}) (*answer[api.Node], error) { return a.node(ctx) })
	register(a, operation{
		id: "drain-node", method: http.MethodPost, path: nodePath + "/drain", tag: "node", scope: auth.NodeAdmin,
		summary: "Take no new peers", description: "When the answer comes, no peer is being created any more. All else works on.",
	}, func(ctx context.Context, _ *struct{}) (*answer[api.Node], error) { return a.drain(ctx, true) })
	register(a, operation{
		id: "undrain-node", method: http.MethodPost, path: nodePath + "/undrain", tag: "node", scope: auth.NodeAdmin,
		summary: "Take new peers again",
	}, func(ctx context.Context, _ *struct{}) (*answer[api.Node], error) { return a.drain(ctx, false) })
	register(a, operation{
		id: "sync-node", method: http.MethodPost, path: nodePath + "/sync", tag: "node", scope: auth.NodeAdmin,
		summary: "Bring the dataplane to what it should be",
		description: "The node does it by itself, on a period and whenever it finds that something was touched. The " +
			"answer says what was mended.",
		refusals: []int{http.StatusServiceUnavailable},
	}, a.sync)
}

func (a *API) drain(ctx context.Context, on bool) (*answer[api.Node], error) {
	if err := a.SetDraining(ctx, on); err != nil {
		return nil, refusal(err)
	}
	return a.node(ctx)
}

func (a *API) sync(ctx context.Context, _ *struct{}) (*answer[api.Repairs], error) {
	repairs, err := a.cfg.Node.Sync(ctx)
	if err != nil {
		return nil, refusal(err)
	}
	out := api.Repairs{Repairs: make([]api.Repair, len(repairs))}
	for i, r := range repairs {
		out.Repairs[i] = api.Repair(r)
	}
	return ok(out), nil
}

func (a *API) node(ctx context.Context) (*answer[api.Node], error) {
	status, err := a.cfg.Node.Status(ctx)
	if err != nil {
		return nil, refusal(err)
	}
	out := api.Node{
		Version: a.cfg.Version, State: status.State, Draining: a.Draining(), Since: status.Since,
		PublicKey: api.Key(status.PublicKey), FormerKey: api.Key(status.FormerKey), OverlapEnds: status.OverlapEnds,
		FormerKeyPeers: status.FormerKeyPeers, ListenPort: status.ListenPort, Addresses: make([]netip.Prefix, 0),
		Dataplane: status.Dataplane, Limitations: append([]string{}, status.Limitations...),
		Peers: status.Peers, Accounts: status.Accounts, Pool: make([]api.Pool, len(status.Pool)), Dropped: status.Dropped,
		Problems: make([]api.NodeProblem, len(status.Problems)), SyncedAt: status.SyncedAt,
	}
	out.Addresses = append(out.Addresses, status.Addresses...)
	for i, p := range status.Pool {
		out.Pool[i] = api.Pool{
			Family: p.Family.String(), Capacity: p.Capacity, Leased: p.Leased, Quarantined: p.Quarantined, Free: p.Free,
		}
	}
	for i, p := range status.Problems {
		out.Problems[i] = problemOf(p)
	}
	return ok(out), nil
}

func problemOf(p wgnode.HealthProblem) api.NodeProblem {
	return api.NodeProblem{Kind: p.Kind.String(), Area: p.Kind.Area(), What: p.What, Since: p.Since}
}
