package client

import (
	"context"
	"net/http"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// CreatePeer adds a peer. The private key in the answer, if the node made one, is shown this once.
func (c *Client) CreatePeer(ctx context.Context, spec api.PeerSpec, opts ...Option) (api.CreatedPeer, error) {
	return ask[api.CreatedPeer](ctx, c, write("create a peer", http.MethodPost, opts, "api", "v1", "peers").with(jsonType, spec))
}

// CreatePeers adds 1 to [api.MaxBulk] peers, all or none, and returns them in the same order.
func (c *Client) CreatePeers(ctx context.Context, specs []api.PeerSpec, opts ...Option) ([]api.CreatedPeer, error) {
	r := write("create peers", http.MethodPost, opts, "api", "v1", "peers", "bulk-create").with(jsonType,
		api.BulkCreate{Peers: specs})
	r.most = maxBulkAnswer
	created, err := ask[api.BulkCreated](ctx, c, r)
	return created.Peers, err
}

// Peer returns a peer and the ETag of what it is, for [IfMatch].
func (c *Client) Peer(ctx context.Context, key api.Key) (peer api.Peer, etag string, err error) {
	return askTagged[api.Peer](ctx, c, read("get a peer", nil, "api", "v1", "peers", key.ID()))
}

// PatchPeer changes what a patch gives, and returns the peer and its new ETag.
func (c *Client) PatchPeer(ctx context.Context, key api.Key, patch api.PeerPatch, opts ...Option) (peer api.Peer, etag string,
	err error) {
	r := write("change a peer", http.MethodPatch, opts, "api", "v1", "peers", key.ID()).with(mergeType, patch)
	return askTagged[api.Peer](ctx, c, r)
}

// DeletePeer removes a peer.
func (c *Client) DeletePeer(ctx context.Context, key api.Key, opts ...Option) error {
	_, err := c.do(ctx, write("delete a peer", http.MethodDelete, opts, "api", "v1", "peers", key.ID()))
	return err
}

// DeletePeers removes 1 to [api.MaxBulk] peers, all or none.
func (c *Client) DeletePeers(ctx context.Context, keys []api.Key, opts ...Option) error {
	r := write("delete peers", http.MethodPost, opts, "api", "v1", "peers", "bulk-delete").with(jsonType, api.BulkDelete{IDs: keys})
	_, err := c.do(ctx, r)
	return err
}

// TopUpPeer gives a peer more for the period that runs, and returns its usage.
func (c *Client) TopUpPeer(ctx context.Context, key api.Key, more api.Bytes, opts ...Option) (api.Usage, error) {
	r := write("top up a peer", http.MethodPost, opts, "api", "v1", "peers", key.ID(), "top-up").with(jsonType,
		api.TopUp{Bytes: more})
	return ask[api.Usage](ctx, c, r)
}

// RekeyPeer gives a peer other keys, and so another id; all else of it stays. A private key in the answer is shown this once.
func (c *Client) RekeyPeer(ctx context.Context, key api.Key, keys api.PeerKeys, opts ...Option) (api.CreatedPeer, error) {
	r := write("change a peer's keys", http.MethodPost, opts, "api", "v1", "peers", key.ID(), "rekey").with(jsonType, keys)
	return ask[api.CreatedPeer](ctx, c, r)
}

// ResetPeerUsage begins a peer's period anew, with nothing used, and returns its usage.
func (c *Client) ResetPeerUsage(ctx context.Context, key api.Key, opts ...Option) (api.Usage, error) {
	return ask[api.Usage](ctx, c, write("reset a peer's usage", http.MethodPost, opts, "api", "v1", "peers", key.ID(),
		"reset-usage"))
}

// PeerConfig returns what a peer's device needs, without the secrets.
func (c *Client) PeerConfig(ctx context.Context, key api.Key) (api.PeerConfig, error) {
	return ask[api.PeerConfig](ctx, c, read("get a peer's configuration", nil, "api", "v1", "peers", key.ID(), "config"))
}

// PeerUsage returns what a peer used.
func (c *Client) PeerUsage(ctx context.Context, key api.Key) (api.Usage, error) {
	return ask[api.Usage](ctx, c, read("get a peer's usage", nil, "api", "v1", "peers", key.ID(), "usage"))
}

// PeerQuality returns how good a peer's connection is.
func (c *Client) PeerQuality(ctx context.Context, key api.Key) (api.Quality, error) {
	return ask[api.Quality](ctx, c, read("get a peer's quality", nil, "api", "v1", "peers", key.ID(), "quality"))
}
