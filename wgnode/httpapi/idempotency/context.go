package idempotency

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"net/http"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Kinds of refusals of this package's own.
const (
	KeyReused      problem.Type = "/problems/idempotency-key-reused" // 409: the key was used for another request
	KeyInUse       problem.Type = "/problems/idempotency-key-in-use" // 409: it is under way; see Retry-After
	OutcomeUnknown problem.Type = "/problems/outcome-unknown"        // 409: the request may have been carried out, or not
	AnswerNotKept  problem.Type = "/problems/idempotent-answer-lost" // 409: the request was carried out, and its answer is gone
	unavailable                 = problem.Unavailable                // 503: keys cannot be kept now
	retrySoon                   = "1"                                // seconds
	retryLater                  = "30"                               // seconds
)

type contextKey struct{}

// attempt is what a handler may know of its request's key.
type attempt struct {
	interrupted bool
	seed        [32]byte
}

// Interrupted reports that a request with the same key and the same content was begun before, and that nobody knows how far it
// came: its process was killed, it panicked, or its answer said no more than that it failed. A handler takes what is there
// already, or gone already, for its own doing.
func Interrupted(ctx context.Context) bool {
	a, ok := ctx.Value(contextKey{}).(attempt)
	return ok && a.interrupted
}

// Seed returns 32 bytes that nobody can guess who does not have the store's secret, the same each time that a request runs with
// the same key of the same principal, for as long as the key is kept; not ok: the request has no key, and the handler may draw at
// random.
func Seed(ctx context.Context) (seed [32]byte, ok bool) {
	a, ok := ctx.Value(contextKey{}).(attempt)
	return a.seed, ok
}

// Derive returns 32 bytes that follow from the request's [Seed] and a label, such as "peer 17", so that a handler can have as
// many as it needs. Not ok: the request has no key.
func Derive(ctx context.Context, label string) (derived [32]byte, ok bool) {
	seed, ok := Seed(ctx)
	if !ok {
		return derived, false
	}
	mac := hmac.New(sha256.New, seed[:])
	mac.Write([]byte(label))
	return [32]byte(mac.Sum(nil)), true
}

// Once is for what cannot be done twice and would not be noticed: it returns a [*problem.Problem] of type [OutcomeUnknown] if the
// request was [Interrupted]. A handler calls it before it does anything, and answers with the problem.
func Once(ctx context.Context) error {
	if !Interrupted(ctx) {
		return nil
	}
	return outcomeUnknown()
}

func outcomeUnknown() *problem.Problem {
	return problem.New(http.StatusConflict, OutcomeUnknown,
		"A request with this Idempotency-Key was interrupted, and may have been carried out or not. "+
			"Look whether it was; if not, send it again with a new key.")
}

// OnlyOnce is [Once] for a handler that does not know of keys.
func OnlyOnce(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Interrupted(r.Context()) {
			outcomeUnknown().Write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}
