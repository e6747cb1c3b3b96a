package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/google/uuid"
)

// How long an answer may be, in bytes: one to a bulk creation has up to 10,000 peers with their configurations.
const (
	maxAnswer     = 16 << 20
	maxBulkAnswer = 64 << 20
)

// Option is an option of one write.
type Option func(*request)

// IfMatch has a write done only to what has this ETag; else the error matches [ErrPreconditionFailed] (RFC 9110, section 13.1.1).
func IfMatch(etag string) Option { return func(r *request) { r.header.Set("If-Match", etag) } }

// IdempotencyKey has a write done once however often it is asked for with this key, also by another client after a restart. It is
// 1 to 255 visible characters that nobody can guess. Without it each call has one of its own, a UUID.
func IdempotencyKey(key string) Option {
	return func(r *request) { r.header.Set("Idempotency-Key", key) }
}

// request is something to be asked, any number of times.
type request struct {
	op     string // what it does, for errors: "create a peer"
	method string
	path   []string // its segments, which are escaped
	query  url.Values
	header http.Header
	body   []byte
	most   int64 // how long the answer may be
}

// answer is what was answered, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// read is a request that changes nothing.
func read(op string, query url.Values, path ...string) *request {
	return &request{op: op, method: http.MethodGet, path: path, query: query, header: http.Header{}, most: maxAnswer}
}

// write is a request that changes something.
func write(op, method string, opts []Option, path ...string) *request {
	r := &request{op: op, method: method, path: path, header: http.Header{}, most: maxAnswer}
	for _, opt := range opts {
		opt(r)
	}
	if r.header.Get("Idempotency-Key") == "" {
		r.header.Set("Idempotency-Key", uuid.NewString())
	}
	return r
}

// with gives a request a body.
func (r *request) with(contentType string, body any) *request {
	data, err := json.Marshal(body)
	if err != nil { // the types of the API always can
		panic(err)
	}
	r.body = data
	r.header.Set("Content-Type", contentType)
	return r
}

const (
	jsonType  = "application/json"
	mergeType = "application/merge-patch+json" // RFC 7396
)

// do sends a request until it is answered with a success.
func (c *Client) do(ctx context.Context, r *request) (*answer, error) {
	a, err := c.persist(ctx, r)
	if err == nil && (a.status < http.StatusOK || a.status >= http.StatusMultipleChoices) {
		err = a.refusal(r.op)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ask does a request, and reads the answer.
func ask[T any](ctx context.Context, c *Client, r *request) (T, error) {
	result, _, err := askTagged[T](ctx, c, r)
	return result, err
}

// askTagged is ask of something that has an ETag.
func askTagged[T any](ctx context.Context, c *Client, r *request) (result T, etag string, err error) {
	a, err := c.do(ctx, r)
	if err == nil {
		err = a.decode(r.op, &result)
	}
	if err != nil {
		var none T
		return none, "", err
	}
	return result, a.header.Get("ETag"), nil
}

// decode reads the body. Fields that this version does not know are passed over.
func (a *answer) decode(op string, result any) error {
	if !a.is(jsonType) {
		return fmt.Errorf("%s: %w: it is %s: is the address right?", op, ErrAnswer, quote(a.header.Get("Content-Type")))
	}
	if err := json.Unmarshal(a.body, result); err != nil {
		return fmt.Errorf("%s: %w: %w", op, ErrAnswer, err)
	}
	return nil
}

// send sends a request once.
func (c *Client) send(ctx context.Context, r *request) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no whole answer within %v: %w", c.timeout,
		context.DeadlineExceeded))
	defer cancel()
	response, err := c.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	a := &answer{status: response.StatusCode, header: response.Header}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, r.most+1))
	if err != nil {
		return nil, why(ctx, err)
	}
	if int64(len(a.body)) > r.most {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrAnswer, r.most)
	}
	return a, nil
}

// open sends a request and reads the answer up to its body.
func (c *Client) open(ctx context.Context, r *request) (*http.Response, error) {
	escaped := make([]string, len(r.path))
	for i, segment := range r.path {
		if segment == "" || segment == "." || segment == ".." { // which mean something else in a path
			return nil, &unsentError{fmt.Errorf("client: %q cannot be the name of anything in the API", segment)}
		}
		escaped[i] = url.PathEscape(segment)
	}
	to := c.base.JoinPath(escaped...)
	to.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, to.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header = r.header.Clone()
	req.Header.Set("User-Agent", c.userAgent)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", jsonType+", application/problem+json")
	}
	if c.authorize != nil {
		if err := c.authorize(req, r.body); err != nil {
			return nil, &unsentError{err}
		}
	}
	response, err := c.http.Do(req)
	if err != nil {
		return nil, why(ctx, err)
	}
	return response, nil
}

// unsentError is why a request was not sent.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// why says what ended a request when it was its context.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
