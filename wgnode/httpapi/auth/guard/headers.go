package guard

import (
	"context"
	"crypto/rand"
	"net/http"
)

// Headers is a middleware that sets the headers by which a browser, should one come by, keeps an API's answers to itself: the
// list for REST of the OWASP. A handler that serves pages sets its own Content-Security-Policy in their place.
func Headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "geolocation=(), camera=(), microphone=()")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000") // RFC 6797: it counts through TLS only
		}
		next.ServeHTTP(w, r)
	})
}

// RequestIDHeader is the header that has a request's id.
const RequestIDHeader = "X-Request-Id"

// maxRequestID is the greatest length of an id, in bytes.
const maxRequestID = 64

type requestIDKey struct{}

// RequestID is a middleware that gives each request an id, in the context, in the request's header and in the answer's. It
// keeps the caller's if that is 1 to 64 letters, digits, '-' and '_', for one request may be many a service's; else it makes
// one of 130 random bits.
func RequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var id string
		if given := r.Header.Values(RequestIDHeader); len(given) == 1 && len(given[0]) <= maxRequestID && sane(given[0]) {
			id = given[0]
		} else {
			id = rand.Text()
		}
		known := r.Clone(context.WithValue(r.Context(), requestIDKey{}, id))
		known.Header.Set(RequestIDHeader, id)
		w.Header().Set(RequestIDHeader, id)
		next.ServeHTTP(w, known)
	})
}

// RequestIDOf returns the id of a request's context. Empty: RequestID has not seen it.
func RequestIDOf(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// sane reports whether a text has letters, digits, '-' and '_' alone, and has one.
func sane(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}
