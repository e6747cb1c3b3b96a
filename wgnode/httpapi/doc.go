// Package httpapi is an HTTP API for a control plane: peers and accounts of a [wgnode.Node], what they used, and the node
// itself. An [API] is an [http.Handler] that any server can mount; package v1 has what requests and answers look like, and
// the API describes itself as OpenAPI 3.1, from the code, at /openapi.json, /openapi.yaml and, as a page that needs no script
// and no network, /docs.
//
// # Who may
//
// An API authenticates nobody: a middleware in front of it does, and puts who it is into the request's context with
// [auth.NewContext]. Each operation asks for a scope. Whoever was not recognised gets status 401, whoever has not the scope
// 403; so without such a middleware all is closed but /livez and /readyz.
//
// # Changes
//
// A change is durable and in force when its answer comes. Peers and accounts have strong entity tags, and changes take
// conditions (RFC 9110, section 13.1): two who change what both have read do not undo each other unseen. The API makes one
// change at a time, as the node does; what the embedder does to the node beside it is not held up, and may come between a
// condition and its change.
//
// A change of several settings, PATCH, is checked whole first, and made part by part; when a part fails, those before are
// taken back. A process that is killed in the middle leaves the parts that were made: asking again makes the rest.
//
// # Refusals
//
// Each is a problem of package problem, with all that is wrong with the request at once. Its type does not change between
// versions. One with a status of 500 and more has no reason but in the log, with the id that a middleware has put into the
// answer's header X-Request-Id.
//
// # Middleware
//
// Limits of headers and of time, rate limits, request ids, recovery from panics and an audit log are the server's or other
// middlewares'. Bodies are limited here, to 64 KiB, and to 8 MiB for requests about many peers.
//
// The package needs no privilege and starts no goroutine, and there is nothing to close.
package httpapi
