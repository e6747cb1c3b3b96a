package supabase

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/waylume/waylume/registry"
)

const (
	// maxBody is the most that a request or an answer has, in bytes.
	maxBody = 1 << 20
	// maxDetail is the most that an error quotes of an answer, in bytes.
	maxDetail = 512
	// problemPrefix is what the types of the fleet's problems begin with.
	problemPrefix = "urn:waylume:fleet:"
)

// reply is what came back, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// refusal is the problem of an answer that is no success: the fleet's, or what stands between.
func (r *reply) refusal(now time.Time) *Error {
	e := &Error{Status: r.status, retryAfter: r.retryAfter(now)}
	var problem struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if r.is("application/problem+json") && json.Unmarshal(r.body, &problem) == nil {
		if kind, ok := strings.CutPrefix(problem.Type, problemPrefix); ok && r.status >= http.StatusBadRequest {
			if e.Err = kindError(kind); e.Err != nil {
				e.Err = withDetail(e.Err, problem.Detail)
				return e
			}
		}
	}
	switch {
	case r.status == http.StatusTooManyRequests:
		e.Err = withDetail(registry.ErrUnavailable, "it is asked too often")
	case r.status >= http.StatusMultipleChoices && r.status < http.StatusBadRequest:
		e.Err = notTheFleets("it is %s to %.200q, which is not followed: give the URL that is meant", statusText(r.status),
			r.header.Get("Location"))
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		e.Err = notTheFleets("it is %s, and no problem of the fleet's: something before the functions wants to know who asks "+
			"(on Supabase: set verify_jwt = false for them)", statusText(r.status))
	case r.status == http.StatusNotFound:
		e.Err = notTheFleets("it is %s, and no problem of the fleet's: is the URL right, and are the functions there?", statusText(r.status))
	default:
		e.Err = notTheFleets("it is %s, of type %.100q", statusText(r.status), r.header.Get("Content-Type"))
	}
	return e
}

// is reports the type of the content.
func (r *reply) is(contentType string) bool {
	media, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	return err == nil && media == contentType
}

// retryAfter reads the header, a number of seconds or a date (RFC 9110, section 10.2.3), up to maxHold.
func (r *reply) retryAfter(now time.Time) time.Duration {
	text := r.header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxHold)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxHold)
	}
	return 0
}

// date is the fleet's time, zero if the answer does not have it.
func (r *reply) date() time.Time {
	at, err := http.ParseTime(r.header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// decode reads the body of a success. Members that this version does not know are passed over.
func decode[T any](body []byte, check func(*T) error) (T, error) {
	var result T
	err := json.Unmarshal(body, &result)
	if err == nil {
		err = check(&result)
	}
	if err != nil {
		var none T
		return none, notTheFleets("%s", clean(err.Error()))
	}
	return result, nil
}

// detailError is a condition with what the fleet says of it.
type detailError struct {
	error
	detail string
}

func (e *detailError) Error() string { return e.error.Error() + ": " + e.detail }
func (e *detailError) Unwrap() error { return e.error }

func withDetail(err error, detail string) error {
	if detail = clean(detail); detail == "" {
		return err
	}
	return &detailError{err, detail}
}

// clean keeps what a stranger wrote from filling a log or moving a cursor.
func clean(text string) string {
	if len(text) > maxDetail {
		text = text[:maxDetail] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
}
