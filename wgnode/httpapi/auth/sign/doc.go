// Package sign signs requests to a Waylume node's API: each has a token of its own, bound to the method, the path, the query and
// the body, good once and for a minute at most. It needs neither the rest of the API nor a node.
//
//	key, err := sign.HMAC("control-plane-2026", secret)
//	...
//	client := &http.Client{Transport: &sign.Transport{Key: key, Claims: sign.Claims{
//		Subject: "control-plane", Audience: "fra-1", Scopes: []string{"peers:write"},
//	}}}
//
// docs/trust.md has the claims of a token, one by one, for those who sign in another language. Nothing here starts a goroutine or
// needs a privilege; all of it may be used concurrently.
package sign
