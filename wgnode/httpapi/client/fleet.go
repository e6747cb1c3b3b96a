package client

import (
	"context"
	"net/http"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// Fleet returns how the node stands with its fleet. A daemon that is in none answers 404.
func (c *Client) Fleet(ctx context.Context) (api.Fleet, error) {
	return ask[api.Fleet](ctx, c, read("ask about the fleet", nil, "api", "v1", "node", "fleet"))
}

// RotateFleetCredential has the node take another key for what it says to the fleet, and returns how it stands then.
func (c *Client) RotateFleetCredential(ctx context.Context, opts ...Option) (api.Fleet, error) {
	return ask[api.Fleet](ctx, c, write("rotate the fleet credential", http.MethodPost, opts, "api", "v1", "node", "fleet", "rotate"))
}

// LeaveFleet takes the node off its fleet until it is started again, and returns how it stands then.
func (c *Client) LeaveFleet(ctx context.Context, opts ...Option) (api.Fleet, error) {
	return ask[api.Fleet](ctx, c, write("leave the fleet", http.MethodPost, opts, "api", "v1", "node", "fleet", "leave"))
}
