package httpapi

import (
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// reading is the context of a request whose body may not come whole, or be more than a server before this one lets through: huma
// takes both for a fault of the node's.
type reading struct {
	inner
	body unreliable
}

// inner is a name for what is embedded that none of its methods has.
type inner = huma.Context

// unreliable is a reader that keeps what went wrong.
type unreliable struct {
	io.Reader
	err error
}

func (u *unreliable) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// read has what goes wrong with the body be the client's.
func read(ctx huma.Context, next func(huma.Context)) { next(&reading{inner: ctx}) }

// Unwrap is for humago.Unwrap.
func (r *reading) Unwrap() huma.Context { return r.inner }

// BodyReader implements [huma.Context].
func (r *reading) BodyReader() io.Reader {
	body := r.inner.BodyReader()
	if body == nil {
		return nil
	}
	r.body.Reader = body
	return &r.body
}

// SetStatus implements [huma.Context].
func (r *reading) SetStatus(status int) {
	if p := r.problem(); p != nil && status == http.StatusInternalServerError {
		status = p.Status
	}
	r.inner.SetStatus(status)
}

// problem is what is wrong with the body; nil: it has come whole.
func (r *reading) problem() *problem.Problem {
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case r.body.err == nil:
		return nil
	case errors.As(r.body.err, &tooLarge):
		return problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge, "the body is larger than the node takes: send less, or in parts")
	default:
		return problem.New(http.StatusBadRequest, problem.Malformed, "the body did not come whole: send it again").Because(r.body.err)
	}
}
