package idempotency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Middleware has POST, PUT, PATCH and DELETE requests with an Idempotency-Key run once; all others pass as they are. It belongs
// inside of authentication.
func (k *Keys) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, given, err := parseKey(r.Header.Values(Header))
		switch {
		case !given || !writes(r.Method):
			next.ServeHTTP(w, r)
		case err != nil:
			problem.New(http.StatusBadRequest, problem.Malformed, "The header Idempotency-Key cannot be used.",
				problem.Fault{Location: "header." + Header, Message: err.Error()}).Write(w)
		default:
			k.serve(w, r, key, next)
		}
	})
}

func writes(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

func (k *Keys) serve(w http.ResponseWriter, r *http.Request, key string, next http.Handler) {
	body, p := k.readBody(w, r)
	if p != nil {
		p.Write(w)
		return
	}
	s, digest := scopeOf(r, key), digestOf(r, body)
	for {
		f, err := k.claim(r.Context(), s, digest)
		switch {
		case err != nil:
			k.refuse(w, r, err)
			return
		case f.answered == nil:
			r = r.WithContext(context.WithValue(r.Context(), contextKey{}, attempt{f.interrupted, f.material.seed}))
			r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
			k.run(w, r, f.turn, next)
			return
		case k.replay(w, r, f.turn, *f.answered):
			return
		}
	}
}

func (k *Keys) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *problem.Problem) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, k.cfg.MaxBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge,
			fmt.Sprintf("The body has more than %d bytes: send less, in several requests with a key each.", k.cfg.MaxBody))
	case err != nil:
		return nil, problem.New(http.StatusBadRequest, problem.Malformed,
			"The body ended before it was whole: send it again.").Because(err)
	}
	return body, nil
}

// run has the handler do what was asked, and keeps its answer before it is sent.
func (k *Keys) run(w http.ResponseWriter, r *http.Request, t turn, next http.Handler) {
	ended := false
	defer func() {
		if !ended { // it panicked, and may have done something
			k.interrupt(t)
		}
	}()
	rec := newRecorder(w, k.cfg.MaxAnswer, func(status int) {
		ended = true
		k.end(r, t, status, nil)
	})
	next.ServeHTTP(rec, r)
	if !ended {
		a := rec.answer(k.cfg.Headers)
		ended = true
		k.end(r, t, a.Status, &a)
	}
	rec.send()
}

// end settles what is known of a request that has run. A nil answer is too large to be kept.
func (k *Keys) end(r *http.Request, t turn, status int, a *answer) {
	switch f := fateOf(status); {
	case f == undone && !t.interrupted:
		k.forget(t)
	case f != settled:
		k.interrupt(t)
	default:
		var sealed []byte
		var err error
		if a != nil {
			if sealed, err = t.material.seal(*a, t.entry.Entry); err != nil {
				sealed = nil // then it is as one that is too large
			}
		}
		if err = errors.Join(err, k.finish(r.Context(), t, sealed)); err != nil {
			k.cfg.Logger.Error("the answer to a request with an idempotency key is not kept: sent again, it runs as an interrupted one",
				"method", r.Method, "error", err)
		}
	}
}

// replay gives the answer that was given before. It does nothing if that had to make room meanwhile.
func (k *Keys) replay(w http.ResponseWriter, r *http.Request, t turn, e Entry) bool {
	if e.Size == 0 {
		k.lost(w)
		return true
	}
	sealed, err := k.cfg.Store.Answer(r.Context(), e.ID)
	var a answer
	if err == nil {
		a, err = t.material.open(sealed, e)
	}
	switch {
	case err == nil:
		a.replay(w)
	case !k.has(e):
		return false
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrNotFound):
		k.cfg.Logger.Error("an answer to a request with an idempotency key is damaged", "error", err)
		k.lost(w)
	default:
		k.refuse(w, r, err)
	}
	return true
}

func (k *Keys) has(e Entry) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.entries[e.ID]
	return now != nil && now.Salt == e.Salt
}

func (k *Keys) lost(w http.ResponseWriter) {
	problem.New(http.StatusConflict, AnswerNotKept,
		"The request with this Idempotency-Key was carried out, and its answer was too large to "+
			"be kept, or is damaged. Look at what is there; do not send it again with a new key.").Write(w)
}

// refuse answers a request that does not run.
func (k *Keys) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errReused):
		problem.New(http.StatusConflict, KeyReused,
			"This Idempotency-Key was used for a request with another body, query, content type "+
				"or precondition: use a new key for a new request, or send the same one again.").Write(w)
	case errors.Is(err, errInUse):
		w.Header().Set("Retry-After", retrySoon)
		problem.New(http.StatusConflict, KeyInUse,
			"The first request with this Idempotency-Key is under way: send it again later.").Write(w)
	case r.Context().Err() != nil:
		problem.New(http.StatusServiceUnavailable, unavailable, "The request was given up.").Write(w)
	default:
		k.cfg.Logger.Error("a request with an idempotency key is refused", "method", r.Method, "error", err)
		w.Header().Set("Retry-After", retryLater)
		problem.New(http.StatusServiceUnavailable, unavailable,
			"Idempotency keys cannot be kept at the moment: send the request again later.").Because(err).Write(w)
	}
}
