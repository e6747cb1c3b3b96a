package auth

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Reason is why a request was refused, in one word for a metric: there are these, and no more.
type Reason string

// Reasons. Those of the second group are no fault of the request's, and count as no failure of its source.
const (
	Malformed       Reason = "malformed"         // what it offers, or its query, cannot be read
	UnknownKey      Reason = "unknown_key"       // no key has the token's kid
	KeyEnded        Reason = "key_ended"         // the key's NotAfter has passed
	WrongAlgorithm  Reason = "wrong_algorithm"   // the token's alg is not its key's
	WrongSignature  Reason = "wrong_signature"   // the signature is not the key's
	WrongClaims     Reason = "wrong_claims"      // a claim is missing, unknown, or not what it must be
	WrongAudience   Reason = "wrong_audience"    // the token is for another node
	WrongTime       Reason = "wrong_time"        // the token has expired, is of the future, or lives too long
	WrongRequest    Reason = "wrong_request"     // the token is for another method, path or query
	WrongBody       Reason = "wrong_body"        // the token is for another body
	Replayed        Reason = "replayed"          // the token was used before
	WrongBearer     Reason = "wrong_bearer"      // nobody has that plain token
	RemoteBearer    Reason = "remote_bearer"     // a plain token that came from elsewhere than this host
	WrongCert       Reason = "wrong_certificate" // the client certificate is nobody's, or counts no more
	WrongUser       Reason = "wrong_user"        // the user at the other end of the socket is nobody
	MissingScope    Reason = "missing_scope"     // whoever it is may not do that
	NoCredentials   Reason = "no_credentials"    // it offers nothing
	BodyTooLarge    Reason = "body_too_large"    // more than MaxBody
	BodyUnread      Reason = "body_unread"       // the body did not come
	KeysStale       Reason = "keys_stale"        // the URL of keys has been down for too long
	Starting        Reason = "starting"          // the token may have been used before the node started
	TooManyTokens   Reason = "too_many_tokens"   // no room to remember another token
	TokensUnwritten Reason = "tokens_unwritten"  // what remembers tokens cannot be written
	Closed          Reason = "closed"            // the Authenticator is
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{
		Malformed, UnknownKey, KeyEnded, WrongAlgorithm, WrongSignature, WrongClaims, WrongAudience, WrongTime,
		WrongRequest, WrongBody, Replayed, WrongBearer, RemoteBearer, WrongCert, WrongUser, MissingScope, NoCredentials,
		BodyTooLarge, BodyUnread, KeysStale, Starting, TooManyTokens, TokensUnwritten, Closed,
	}
}

// refusal is an answer to a request that is not let through.
type refusal struct {
	reason  Reason
	problem *problem.Problem
	kid     string        // of the key that signed, once that is known
	failure bool          // it counts against its source
	retry   time.Duration // after which to try again, if that is known
}

// denied is a refusal of one who has not shown who they are.
func denied(reason Reason, format string, args ...any) *refusal {
	return &refusal{reason: reason, failure: true,
		problem: problem.New(http.StatusUnauthorized, problem.Unauthenticated, fmt.Sprintf(format, args...))}
}

// forbidden is a refusal of one who is known, and may not.
func forbidden(reason Reason, format string, args ...any) *refusal {
	return &refusal{reason: reason, failure: true,
		problem: problem.New(http.StatusForbidden, problem.Forbidden, fmt.Sprintf(format, args...))}
}

// unavailable is a refusal for what the node lacks.
func unavailable(reason Reason, detail string, err error) *refusal {
	return &refusal{
		reason: reason, problem: problem.New(http.StatusServiceUnavailable, problem.Unavailable, detail).Because(err),
		retry: time.Second,
	}
}

// by says which key has signed.
func (r *refusal) by(kid string) *refusal {
	r.kid = kid
	return r
}

// requestID is the id that a middleware before this one has given the request, if one has: it says so in the answer.
func requestID(w http.ResponseWriter) string { return w.Header().Get("X-Request-Id") }

// write answers a request.
func (r *refusal) write(w http.ResponseWriter) {
	switch {
	case r.reason == NoCredentials:
		w.Header().Set("WWW-Authenticate", `Bearer realm="waylume"`) // RFC 6750, section 3.1: no error, for nothing was offered
	case r.problem.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="waylume", error="invalid_token"`)
	}
	if r.retry > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((r.retry+time.Second-1)/time.Second), 10))
	}
	r.problem.Instance = requestID(w)
	r.problem.Write(w)
}
