package supabase

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// What is taken for a credential's file is one that is written the same way again.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(aDocument))
	f.Add([]byte(`{"version":1,"urls":["https://a"],"pending":{"private_key":"` + aKey + `","created":"2026-09-22T14:13:20Z","token_sha256":"AA=="}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseDocument(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		text, err := doc.encode()
		if err != nil { // a time that JSON can be read from, and not be written to
			require.ErrorContains(t, err, "Time")
			return
		}
		again, err := parseDocument(text)
		require.NoError(t, err)
		more, err := again.encode()
		require.NoError(t, err)
		require.Equal(t, string(text), string(more))
		for _, c := range []*credential{doc.Current, doc.Next, doc.Former} {
			if c != nil {
				require.Len(t, []byte(c.Seed), ed25519.SeedSize)
				require.NotEmpty(t, c.public())
			}
		}
	})
}

// Whatever comes back is an answer that is as it must be, or an error of one line that says what kind it is.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"now":"2026-09-21T14:13:20Z","interval":15}`, "")
	f.Add(503, "application/problem+json", `{"type":"urn:waylume:fleet:unavailable","detail":"x\ny"}`, "5")
	f.Add(401, "application/problem+json", `{"type":"urn:waylume:fleet:clock"}`, "Mon, 21 Sep 2026 14:13:20 GMT")
	f.Add(302, "text/html", `<a>`, "-1")
	f.Fuzz(func(t *testing.T, status int, contentType, body, retryAfter string) {
		var answer heartbeatAnswer
		r := &reply{status: status, body: []byte(body), header: http.Header{
			"Content-Type": {contentType}, "Retry-After": {retryAfter}, "Date": {retryAfter}, "Location": {body},
		}}
		q := &question{take: func(body []byte) (err error) {
			answer, err = decode(body, func(a *heartbeatAnswer) error { return a.check(3) })
			return err
		}}
		failure := r.judge(q, time.Unix(1_790_000_000, 0))
		if failure == nil {
			require.Equal(t, http.StatusOK, status)
			require.NoError(t, answer.check(3))
			return
		}
		require.LessOrEqual(t, failure.RetryAfter(), maxHold)
		require.GreaterOrEqual(t, failure.RetryAfter(), time.Duration(0))
		text := failure.Error()
		require.Less(t, len(text), 4096)
		require.False(t, strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
		known := false
		for _, err := range []error{
			registry.ErrInvalid, registry.ErrNameTaken, registry.ErrUnknownServer, registry.ErrSuperseded, registry.ErrDenied,
			registry.ErrUnavailable, registry.ErrGap, registry.ErrNoServer, registry.ErrUnknownSession, registry.ErrConflict,
		} {
			known = known || errors.Is(failure, err)
		}
		require.True(t, known, text)
		r.date()
	})
}

// A set of keys that is taken is taken again, and has nothing secret.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[` + edwards + `]}`))
	f.Add([]byte(`{"keys":[` + strings.Replace(weierstrass, `"enc"`, `"sig"`, 1) + `]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := parseKeys(data)
		if err != nil {
			require.ErrorIs(t, err, ErrKeys)
			return
		}
		again, err := parseKeys(text)
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}
