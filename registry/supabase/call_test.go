package supabase

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// A clock that is off is set right by the fleet's answer, once for all calls; one that is not told the time is an error.
func TestClock(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, -40 * time.Second, 40 * time.Second, 24 * 365 * time.Hour} {
		s := newSite(t)
		cfg := s.config()
		var log logs
		cfg.Logger = log.logger()
		own := &clock{}
		cfg.Now = own.Now
		n := s.node(cfg)
		require.NoError(t, n.beat(t.Context()))
		require.Zero(t, n.Info().Difference)

		own.Advance(off)
		before := s.asked.Load()
		require.NoError(t, n.beat(t.Context()))
		require.Equal(t, before+2, s.asked.Load())
		require.NoError(t, n.beat(t.Context()))
		require.Equal(t, before+3, s.asked.Load())
		require.InDelta(t, -off, n.Info().Difference, float64(5*time.Second))
		require.Contains(t, log.String(), "the clock differs")

		own.Advance(-off)
		require.NoError(t, n.beat(t.Context()), "set right meanwhile")
	}

	s := newSite(t)
	n := s.node(s.config())
	const body = `{"type":"urn:waylume:fleet:clock","detail":"70 s ago"}`
	for name, date := range map[string]string{"no date": "", "no help": time.Now().UTC().Format(http.TimeFormat)} {
		s.fails(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.Header()["Date"] = nil
			answers(http.StatusUnauthorized, "application/problem+json", body, "Date", date)(w, r, next)
		})
		err := n.beat(t.Context())
		require.ErrorIs(t, err, ErrClock, name)
		require.ErrorIs(t, err, registry.ErrUnavailable, name)
		require.NotErrorIs(t, err, registry.ErrDenied, name)
	}
}

// A registration that was given up and is carried out late supersedes the node by itself: it is told to register again, once.
func TestLateRegistration(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	second := s.newFront()
	cfg.URLs = append(cfg.URLs, second.url())
	n := s.node(cfg)
	var late *http.Request
	s.fails(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		body := readAll(r)
		late = r.Clone(t.Context())
		late.Body = body
		panic(http.ErrAbortHandler)
	})
	var err error
	n.Registered, err = n.Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)
	require.NoError(t, n.beat(t.Context()))

	w := httptest.NewRecorder()
	s.fleet.ServeHTTP(w, late)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	err = n.beat(t.Context())
	require.ErrorIs(t, err, registry.ErrUnknownServer)
	require.NotErrorIs(t, err, registry.ErrSuperseded)
	require.ErrorContains(t, err, "of this node's own")
	require.ErrorIs(t, n.beat(t.Context()), registry.ErrSuperseded, "the second time it is told as it is")

	s.fails(nil)
	n.Registered, err = n.Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)
	require.NoError(t, n.beat(t.Context()))

	// Another process is one that supersedes.
	_, err = s.open(cfg).Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)
	require.ErrorIs(t, n.beat(t.Context()), registry.ErrSuperseded)

	// And what was given up long ago arrives no more.
	s.fails(lose)
	second.fails(lose)
	_, err = n.Register(t.Context(), registration("fra-1"))
	require.Error(t, err)
	s.fails(nil)
	s.clock.Advance(lateWindow)
	require.ErrorIs(t, n.beat(t.Context()), registry.ErrSuperseded)
}

// What is too large, or cannot be written, is not sent.
func TestUnsendable(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	before := s.asked.Load()
	_, err := n.Heartbeat(t.Context(), registry.Heartbeat{Status: registry.Status{Load: registry.Load{Score: math.NaN()}}})
	require.ErrorIs(t, err, registry.ErrInvalid)
	_, err = n.Heartbeat(t.Context(), registry.Heartbeat{Status: registry.Status{Reasons: []string{strings.Repeat("a", maxBody)}}})
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.Equal(t, before, s.asked.Load())
}

// The largest report that there may be fits.
func TestLargestReport(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	report := registry.UsageReport{Server: n.Server, Sequence: 1, From: time.Now().Add(-time.Hour), To: time.Now()}
	for i := range registry.MaxUsages {
		u := registry.PeerUsage{Download: registry.MaxUsageBytes, Upload: registry.MaxUsageBytes}
		u.PublicKey[0], u.PublicKey[1], u.PublicKey[31] = byte(i), byte(i>>8), 1
		report.Usages = append(report.Usages, u)
	}
	receipt, err := n.ReportUsage(t.Context(), report)
	require.NoError(t, err)
	require.EqualValues(t, 1, receipt.Sequence)
}

// Answers that make no sense are not believed.
func TestAnswersChecked(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	release := func(text string) string {
		return `{"now":"2026-09-21T14:13:20Z","releases":[` + text + `]}`
	}
	const session, key = `"session":"c2a4a9c8-5d0b-4f0e-8a57-6a3d0b7c9f11"`, `"public_key":"XQKaFQDOMbuzW7Jek/5QKMAmW9BzOMyriSSKay3K1dE="`
	for _, body := range []string{
		`null`, `[]`, `{}`, `{"now":"0001-01-01T00:00:00Z"}`, `{"now":"2026-09-21T14:13:20Z","interval":-1}`,
		`{"now":"2026-09-21T14:13:20Z","interval":100000}`,
		release(`{"sequence":0,` + session + `,"generation":1,` + key + `}`),
		release(`{"sequence":1,` + session + `,"generation":0,` + key + `}`),
		release(`{"sequence":1,"session":"all","generation":1,` + key + `}`),
		release(`{"sequence":1,` + session + `,"generation":1}`),
		release(`{"sequence":2,` + session + `,"generation":1,` + key + `},{"sequence":2,` + session + `,"generation":1,` + key + `}`),
	} {
		s.fails(answers(http.StatusOK, "application/json", body))
		require.ErrorIs(t, n.beat(t.Context()), ErrAnswer, body)
	}
	s.fails(answers(http.StatusOK, "application/json; charset=utf-8", release(`{"sequence":2,`+session+`,"generation":1,`+key+`}`)))
	require.NoError(t, n.beat(t.Context()))
	for _, body := range []string{
		`{"server":"00000000-0000-4000-8000-000000000000","incarnation":1}`, `{"server":"` + string(n.Server) + `"}`,
		`{"server":"` + string(n.Server) + `","incarnation":1,"usage_sequence":-1}`,
	} {
		s.fails(answers(http.StatusOK, "application/json", body))
		_, err := n.Register(t.Context(), registration("fra-1"))
		require.ErrorIs(t, err, ErrAnswer, body)
	}
	s.fails(answers(http.StatusOK, "application/json", `{"sequence":1}`))
	_, err := n.ReportUsage(t.Context(), registry.UsageReport{Sequence: 2})
	require.ErrorIs(t, err, ErrAnswer)
	s.fails(answers(http.StatusOK, "application/json", `null`))
	require.ErrorIs(t, n.Deregister(t.Context(), n.Server), ErrAnswer)
}

// What an answer says is quoted in one line, of bounded length, without what moves a cursor.
func TestHostileDetail(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	detail, err := json.Marshal("\x1b[2J\r\n\u202e" + strings.Repeat("x", 10_000))
	require.NoError(t, err)
	s.fails(answers(http.StatusForbidden, "application/problem+json", `{"type":"urn:waylume:fleet:denied","detail":`+string(detail)+`}`))
	err = n.beat(t.Context())
	require.ErrorIs(t, err, registry.ErrDenied)
	require.Less(t, len(err.Error()), 1000)
	require.False(t, strings.ContainsAny(err.Error(), "\x1b\r\n\u202e"))
}
