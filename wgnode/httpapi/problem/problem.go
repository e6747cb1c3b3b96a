// Package problem answers requests that failed: problem details as RFC 9457 has them, of types that do not change, each with what is
// wrong and how to mend it, and all that is wrong with a request at once.
package problem

import (
	"encoding/json"
	"net/http"
	"strings"
)

// ContentType is that of an answer with a problem (RFC 9457, section 3).
const ContentType = "application/problem+json"

// Type names a kind of problem, for programs to tell one from another: the path of a URI reference. It never changes.
type Type string

// Types that any part of an API may answer with. Others are defined where they arise.
const (
	Invalid          Type = "/problems/invalid"            // 422: the request breaks rules; see Faults
	Malformed        Type = "/problems/malformed"          // 400: the request cannot be read
	Unauthenticated  Type = "/problems/unauthenticated"    // 401: nobody, or nobody known, has made the request
	Forbidden        Type = "/problems/forbidden"          // 403: whoever made the request may not
	NotFound         Type = "/problems/not-found"          // 404
	MethodNotAllowed Type = "/problems/method-not-allowed" // 405
	Conflict         Type = "/problems/conflict"           // 409
	TooLarge         Type = "/problems/too-large"          // 413
	RateLimited      Type = "/problems/rate-limited"       // 429: later; the header Retry-After says when
	Internal         Type = "/problems/internal"           // 500: a fault of the node's, which its log tells of
	Unavailable      Type = "/problems/unavailable"        // 503: not now
)

// Problem is the body of an answer to a request that failed. It is an error.
//
//nolint:errname // that is what RFC 9457 calls it
type Problem struct {
	Type   Type   `json:"type" format:"uri-reference" doc:"What kind of problem it is; it never changes."`
	Title  string `json:"title" doc:"The kind, in words."`
	Status int    `json:"status" doc:"The HTTP status."`
	Detail string `json:"detail,omitempty" doc:"What is wrong with this request, and how to mend it."`
	// Instance is the request's, as the header X-Request-Id and the log have it.
	Instance string `json:"instance,omitempty" doc:"The request's id, as the node's log has it."`
	// Faults are all that is wrong with the request.
	Faults []Fault `json:"errors,omitempty" doc:"All that is wrong with the request."`
	// Err is why, for the log alone.
	Err error `json:"-"`
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	// Location is where: "body.speed_limit.download", "query.limit", "header.Idempotency-Key".
	Location string `json:"location" doc:"Where in the request: body.speed_limit.download, query.limit."`
	// Message says what is wrong, and what would be right.
	Message string `json:"message" doc:"What is wrong, and what would be right."`
}

// New returns a problem with the title that its type says.
func New(status int, kind Type, detail string, faults ...Fault) *Problem {
	title := strings.ReplaceAll(string(kind[strings.LastIndexByte(string(kind), '/')+1:]), "-", " ")
	if title != "" {
		title = strings.ToUpper(title[:1]) + title[1:]
	}
	return &Problem{Type: kind, Title: title, Status: status, Detail: detail, Faults: faults}
}

// Because returns the problem with its reason for the log.
func (p *Problem) Because(err error) *Problem {
	p.Err = err
	return p
}

// Error is one line for a person.
func (p *Problem) Error() string {
	var text strings.Builder
	text.WriteString(p.Title)
	if p.Detail != "" {
		text.WriteString(": " + p.Detail)
	}
	for _, f := range p.Faults {
		text.WriteString("; " + f.Location + ": " + f.Message)
	}
	return text.String()
}

// Unwrap gives the reason.
func (p *Problem) Unwrap() error { return p.Err }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problems, instead of the one that was negotiated.
func (p *Problem) ContentType(string) string { return ContentType }

// Write answers a request with a problem. It sets no other headers than the type of the content and that it is not to be stored.
func (p *Problem) Write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always can
		panic(err)
	}
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // the caller is gone, then
}
