// Package auth says who has made a request, and what they may do.
//
//	a, err := auth.New(auth.Config{Trust: auth.Trust{
//		Audience: "fra-1",
//		Keys:     []auth.KeySource{{Type: auth.PEM, ID: "control-plane-1", Path: "control.pem", Scopes: auth.Scopes()}},
//	}, UsedTokens: "/var/lib/waylume/used-tokens"})
//	...
//	a.Start()
//	defer a.Close()
//	handler := a.Middleware(api)
//
// An [Authenticator] recognises requests by a token bound to the request (package auth/sign makes them), by the client
// certificate of a TLS connection, by the user at the other end of a unix socket (for which the server has [ConnContext]), and,
// from this host alone, by a plain bearer token. All that it is not told to trust it refuses, with a problem (package problem).
// What a request offers in the header Authorization counts alone: nothing else is tried after it.
//
// docs/trust.md specifies the tokens, and says what each part holds off. Only Start begins goroutines, those that fetch keys;
// Close ends them. Nothing needs a privilege. Around this package stand auth/guard (limits, headers, request ids), auth/mtls
// (certificates of the server's), auth/source (addresses and proxies) and auth/keyset (keys).
package auth
