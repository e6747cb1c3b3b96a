package client

import (
	"context"
	"net/http"
	"net/url"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// PutAccount makes an account, or makes the one that is there what spec says, and returns it with its ETag. Whether it is
// suspended stays.
func (c *Client) PutAccount(ctx context.Context, id string, spec api.AccountSpec, opts ...Option) (account api.Account,
	etag string, err error) {
	r := write("put an account", http.MethodPut, opts, "api", "v1", "accounts", id).with(jsonType, spec)
	return askTagged[api.Account](ctx, c, r)
}

// Account returns an account and the ETag of what it is, for [IfMatch].
func (c *Client) Account(ctx context.Context, id string) (account api.Account, etag string, err error) {
	return askTagged[api.Account](ctx, c, read("get an account", nil, "api", "v1", "accounts", id))
}

// PatchAccount changes what a patch gives, and returns the account and its new ETag.
func (c *Client) PatchAccount(ctx context.Context, id string, patch api.AccountPatch, opts ...Option) (account api.Account,
	etag string, err error) {
	r := write("change an account", http.MethodPatch, opts, "api", "v1", "accounts", id).with(mergeType, patch)
	return askTagged[api.Account](ctx, c, r)
}

// DeleteAccount removes an account, which has no peers unless withPeers says that they go too.
func (c *Client) DeleteAccount(ctx context.Context, id string, withPeers bool, opts ...Option) error {
	r := write("delete an account", http.MethodDelete, opts, "api", "v1", "accounts", id)
	if withPeers {
		r.query = url.Values{"peers": {"true"}}
	}
	_, err := c.do(ctx, r)
	return err
}

// TopUpAccount gives an account more for the period that runs, and returns its usage.
func (c *Client) TopUpAccount(ctx context.Context, id string, more api.Bytes, opts ...Option) (api.Usage, error) {
	r := write("top up an account", http.MethodPost, opts, "api", "v1", "accounts", id, "top-up").with(jsonType,
		api.TopUp{Bytes: more})
	return ask[api.Usage](ctx, c, r)
}

// ResetAccountUsage begins an account's period anew, with nothing used, and returns its usage.
func (c *Client) ResetAccountUsage(ctx context.Context, id string, opts ...Option) (api.Usage, error) {
	r := write("reset an account's usage", http.MethodPost, opts, "api", "v1", "accounts", id, "reset-usage")
	return ask[api.Usage](ctx, c, r)
}

// AccountUsage returns what an account's peers used together.
func (c *Client) AccountUsage(ctx context.Context, id string) (api.Usage, error) {
	return ask[api.Usage](ctx, c, read("get an account's usage", nil, "api", "v1", "accounts", id, "usage"))
}
