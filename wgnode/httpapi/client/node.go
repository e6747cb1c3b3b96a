package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// Node returns the node as it is.
func (c *Client) Node(ctx context.Context) (api.Node, error) {
	return ask[api.Node](ctx, c, read("get the node", nil, "api", "v1", "node"))
}

// Drain has the node refuse new peers from now on, and returns it. The peers that it has stay.
func (c *Client) Drain(ctx context.Context, opts ...Option) (api.Node, error) {
	return ask[api.Node](ctx, c, write("drain the node", http.MethodPost, opts, "api", "v1", "node", "drain"))
}

// Undrain has the node take new peers again, and returns it.
func (c *Client) Undrain(ctx context.Context, opts ...Option) (api.Node, error) {
	return ask[api.Node](ctx, c, write("end the drain", http.MethodPost, opts, "api", "v1", "node", "undrain"))
}

// Sync has the node make its dataplane what it should be, at once, and returns what it had to mend.
func (c *Client) Sync(ctx context.Context, opts ...Option) ([]api.Repair, error) {
	repairs, err := ask[api.Repairs](ctx, c, write("sync the node", http.MethodPost, opts, "api", "v1", "node", "sync"))
	return repairs.Repairs, err
}

// Live asks whether the process works, without trying again. One that does not is no error, but a Status that is not "ok".
func (c *Client) Live(ctx context.Context) (api.Health, error) {
	return c.health(ctx, read("ask whether it lives", nil, "livez"))
}

// Ready asks whether the node serves its peers, as Live does. The Checks say what fails.
func (c *Client) Ready(ctx context.Context) (api.Health, error) {
	return c.health(ctx, read("ask whether it is ready", nil, "readyz"))
}

// health reads an answer that is the same with a status of success and with 503.
func (c *Client) health(ctx context.Context, r *request) (health api.Health, err error) {
	once := *c
	once.attempts = 1
	a, err := once.persist(ctx, r)
	switch {
	case err != nil:
		return api.Health{}, err
	case a.status != http.StatusOK && a.status != http.StatusServiceUnavailable, !a.is(jsonType):
		return api.Health{}, a.refusal(r.op)
	}
	err = a.decode(r.op, &health)
	return health, err
}

// UsageQuery says of which time, and of whom, usage is wanted.
type UsageQuery struct {
	From, To time.Time
	// Step, of a Peer or an Account, is for a series; 0: sums.
	Step time.Duration
	// Peer or Account is whose; neither: everybody's.
	Peer    api.Key
	Account string
}

// Usage returns what was used, from all pages. What the sums cover is that of the first.
func (c *Client) Usage(ctx context.Context, q UsageQuery) (api.UsageReport, error) {
	query := url.Values{}
	for name, at := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !at.IsZero() {
			query.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	if q.Step != 0 {
		query.Set("step", q.Step.String())
	}
	if q.Peer != (api.Key{}) {
		query.Set("peer", q.Peer.ID())
	}
	if q.Account != "" {
		query.Set("account", q.Account)
	}
	var whole api.UsageReport
	first := true
	for page, err := range pages(func(cursor string) ([]api.UsageReport, string, error) {
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		page, err := ask[api.UsageReport](ctx, c, read("get usage", query, "api", "v1", "usage"))
		return []api.UsageReport{page}, page.Next, err
	}) {
		if err != nil {
			return api.UsageReport{}, err
		}
		if first {
			whole.Span, whole.Damage, first = page.Span, page.Damage, false
		}
		whole.Usages = append(whole.Usages, page.Usages...)
		whole.Steps = append(whole.Steps, page.Steps...)
	}
	return whole, nil
}
