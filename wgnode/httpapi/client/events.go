package client

import (
	"net/http"
	"net/url"
)

// EventSource returns what the node's events are read with, by eventstream.Read: an HTTP client without a time-out that makes
// requests as this one does, and the URL. The query chooses events, and may be nil.
//
//	source, url := c.EventSource(nil)
//	for event, err := range eventstream.Read(ctx, source, url, eventstream.ReadOptions{}) {
//		...
//	}
func (c *Client) EventSource(query url.Values) (source *http.Client, at string) {
	to := c.base.JoinPath("api", "v1", "events")
	to.RawQuery = query.Encode()
	own := *c.http
	own.Timeout = 0
	own.Transport = &authorizing{c}
	return &own, to.String()
}

// authorizing is the transport of a client's requests that other packages make.
type authorizing struct{ c *Client }

// RoundTrip sends a request that has no body.
func (t *authorizing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", t.c.userAgent)
	if t.c.authorize != nil {
		if err := t.c.authorize(r, nil); err != nil {
			return nil, err
		}
	}
	next := t.c.http.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(r)
}
