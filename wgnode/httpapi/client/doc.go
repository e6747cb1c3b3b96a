// Package client asks a node's HTTP API, which package httpapi serves: peers, accounts, usage, events and the node itself. It
// links no node and no dataplane.
//
//	c, err := client.New(client.Config{URL: "unix:/var/lib/waylume/api.sock"})
//	...
//	defer c.Close()
//	created, err := c.CreatePeer(ctx, api.PeerSpec{Name: "phone", SpeedLimit: api.SpeedLimit{Download: 20_000_000}})
//	...
//	for peer, err := range c.Peers(ctx, client.PeerQuery{}) {
//		...
//	}
//
// # What is tried again
//
// Every write has an Idempotency-Key, so that sending it again does nothing twice. A request is sent again, after a pause that
// grows and that the header Retry-After may set, when nobody listens or the connection breaks, and after 429, 502, 503, and the
// 409 that says that the same request is under way. It is not after a refusal that would come again: one that is of a kind of its
// own.
//
// # Errors
//
// What the API refused is an [*Error] with the *problem.Problem that it answered with, for errors.As; [ErrNotFound] and its like
// tell kinds apart, for errors.Is. An error of a write that is not a refusal leaves open whether the write was carried out.
//
// # Lifecycle
//
// A [Client] may be used by many goroutines at once. It starts none, but for its connections; Close ends those that wait to be
// used again. It follows no redirect, reads no environment, uses no proxy, and needs no privilege but that to connect.
package client
