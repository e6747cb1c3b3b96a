package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/waylume/waylume/wgnode"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func (a *API) addHealthRoutes() {
	register(a, operation{
		id: "livez", method: http.MethodGet, path: "/livez", tag: "health", public: true,
		summary: "Whether the process serves", description: "Nothing is looked at: whoever gets no answer may start the process anew.",
	}, func(context.Context, *struct{}) (*answer[api.Health], error) {
		return ok(api.Health{Status: "ok"}), nil
	})
	register(a, operation{
		id: "readyz", method: http.MethodGet, path: "/readyz", tag: "health", public: true,
		summary: "Whether the node serves its peers",
		also:    []int{http.StatusServiceUnavailable},
		description: "Each thing that was looked at, by name; status 503 if one fails. A drained node is ready. What is " +
			"wrong in full, GET /api/v1/node tells those who may know.",
	}, a.ready)
}

func (a *API) ready(ctx context.Context, _ *struct{}) (*answer[api.Health], error) {
	status, err := a.cfg.Node.Status(ctx)
	node := api.Check{Name: "node", OK: status.State == "running"}
	if !node.OK {
		node.Detail = status.State
	}
	store := check("store", status.Problems, wgnode.StoreFailing)
	dataplane := check("dataplane", status.Problems, wgnode.DataplaneFailing, wgnode.InterfaceDown,
		wgnode.ForwardingOff, wgnode.UplinkDown, wgnode.FirewallCloses, wgnode.SocketsFail)
	if err != nil && dataplane.OK {
		a.log.ErrorContext(ctx, "readiness", "error", err)
		dataplane.OK, dataplane.Detail = false, "does not answer"
	}
	out := ok(api.Health{Status: "ok", Checks: []api.Check{node, store, dataplane}})
	if slices.ContainsFunc(out.Body.Checks, func(c api.Check) bool { return !c.OK }) {
		out.Status, out.Body.Status = http.StatusServiceUnavailable, "failing"
	}
	out.CacheControl = secret
	return out, nil
}

// check fails if there is a problem of one of the kinds. It tells the kinds, not what is known of the host.
func check(name string, problems []wgnode.HealthProblem, kinds ...wgnode.ProblemKind) api.Check {
	var found []string
	for _, p := range problems {
		if slices.Contains(kinds, p.Kind) {
			found = append(found, p.Kind.String())
		}
	}
	return api.Check{Name: name, OK: len(found) == 0, Detail: strings.Join(found, ", ")}
}
