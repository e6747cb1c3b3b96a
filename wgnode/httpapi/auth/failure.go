package auth

import (
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/auth/keyset"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Stats is what an Authenticator has done since New.
type Stats struct {
	Accepted   map[string]uint64 // requests by Method
	Refused    map[Reason]uint64
	Delayed    uint64 // answers to failures that waited
	Undelayed  uint64 // answers to failures that were given at once with 429, for as many waited as may
	Intrusions uint64 // times that OnIntrusion was due
	Waiting    int    // answers that wait now
	Sources    int    // sources of failures that are remembered
	UsedTokens int    // tokens that are remembered
	Remotes    []keyset.RemoteStatus
}

type counts struct {
	mu    sync.Mutex
	stats Stats
}

func (c *counts) accept(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stats.Accepted == nil {
		c.stats.Accepted = make(map[string]uint64)
	}
	c.stats.Accepted[method]++
}

func (c *counts) add(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// Stats returns what has been counted.
func (a *Authenticator) Stats() Stats {
	a.counts.mu.Lock()
	s := a.counts.stats
	s.Accepted, s.Refused = maps.Clone(s.Accepted), maps.Clone(s.Refused)
	a.counts.mu.Unlock()
	s.Waiting, s.Sources, s.UsedTokens = a.failures.Waiting(), a.failures.Sources(), a.used.Len()
	for _, r := range a.policy.Load().remotes {
		s.Remotes = append(s.Remotes, r.Status())
	}
	return s
}

// refuse counts a refusal, tells of it, and answers it: late, if its source has failed often.
func (a *Authenticator) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	from := a.cfg.Sources.Of(r)
	a.counts.add(func(s *Stats) {
		if s.Refused == nil {
			s.Refused = make(map[Reason]uint64)
		}
		s.Refused[refused.reason]++
	})
	if a.cfg.OnRefusal != nil {
		a.cfg.OnRefusal(refused.reason)
	}
	attrs := []slog.Attr{
		slog.String("reason", string(refused.reason)), slog.String("from", from.String()), slog.Int("status", refused.problem.Status),
	}
	if refused.kid != "" {
		attrs = append(attrs, slog.String("kid", refused.kid))
	}
	if id := requestID(w); id != "" {
		attrs = append(attrs, slog.String("request_id", id))
	}
	if refused.problem.Err != nil {
		attrs = append(attrs, slog.Any("error", refused.problem.Err))
	}
	if !refused.failure {
		a.log(r, "request refused", attrs)
		refused.write(w)
		return
	}
	// The clock of delays is the machine's, which does not step.
	count := a.failures.Fail(from.Group(), time.Now())
	a.log(r, "authentication failed", append(attrs, slog.Int("failures", count.Failures)))
	if count.Notable {
		a.counts.add(func(s *Stats) { s.Intrusions++ })
		a.cfg.Logger.WarnContext(r.Context(), "a source keeps failing to authenticate", "from", from.String(),
			"failures", count.Failures, "since", count.Since, "reason", string(refused.reason))
		if a.cfg.OnIntrusion != nil {
			a.cfg.OnIntrusion(Intrusion{Source: from, Failures: count.Failures, Since: count.Since, Reason: refused.reason})
		}
	}
	if count.Delay > 0 {
		if !a.failures.Wait(r.Context(), a.stop, from.Group(), count.Delay) {
			a.counts.add(func(s *Stats) { s.Undelayed++ })
			refused = &refusal{retry: count.Delay, problem: problem.New(http.StatusTooManyRequests, problem.RateLimited,
				"too many requests from this source have failed to show who makes them: mend what signs them, and try again later")}
		} else {
			a.counts.add(func(s *Stats) { s.Delayed++ })
		}
	}
	refused.write(w)
}

// log tells of a refusal, unless it told of too many just now.
func (a *Authenticator) log(r *http.Request, message string, attrs []slog.Attr) {
	if !a.logs.Allow() {
		a.unlogged.Add(1)
		return
	}
	if n := a.unlogged.Swap(0); n > 0 {
		attrs = append(attrs, slog.Uint64("unlogged_before", n))
	}
	a.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, message, attrs...)
}
