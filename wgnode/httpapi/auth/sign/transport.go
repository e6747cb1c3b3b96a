package sign

import "net/http"

// Transport is an http.RoundTripper that signs each request before it sends it. Claims are the same for all; requests that
// need others take another Transport, which may share the Base.
//
// What [http.Client] does by itself sends a request anew, through here, with a token anew: a redirect. A connection that breaks
// before the answer may lose it after the node has done what was asked: the node refuses the token then, should the transport
// below send the same request again. Sign anew, with the same idempotency key.
type Transport struct {
	Key    Key
	Claims Claims
	// Base sends the requests. nil: http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	signed := req.Clone(req.Context())
	if err := Request(signed, t.Key, t.Claims); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as RoundTripper says; what matters is err
		}
		return nil, err
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(signed)
}
