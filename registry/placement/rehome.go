package placement

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/waylume/waylume/registry"
)

// Report is what a look at what is stranded came to, in sessions.
type Report struct {
	Moved    int // another server serves them
	Finished int // their own server does, whom nobody had confirmed
	Ended    int // their time was over
	Waiting  int // their server is silent, as was the whole fleet a moment ago: it is given time to come back
	Stuck    int // no server fits: they are where they were, and will be looked at again
	Failed   int // something else went wrong: they will be looked at again
}

// Rehome moves or ends each session that is stranded, and returns when it has tried each one once. An error is one of asking what is
// stranded; those of single sessions are logged and counted.
//
// After an outage of the registry, or of all servers, every server looks silent, and those that come back first would get all sessions:
// for Config.Freshness from its end on, as far as this controller has seen it, sessions that a server has stay with it.
func (c *Controller) Rehome(ctx context.Context) (Report, error) {
	type placement struct {
		session    registry.SessionID
		generation int64
	}
	var report Report
	seen := make(map[placement]bool)
	for limit := c.cfg.Batch; ; {
		asked := c.cfg.Now().Round(0)
		sessions, err := c.cfg.Sessions.Stranded(ctx, c.cfg.Freshness, limit)
		if err != nil {
			c.outage.failed(ctx, c.cfg.Now())
			return report, err
		}
		if len(sessions) == 0 {
			c.outage.heard(c.cfg.Now(), c.cfg.Freshness, true)
			return report, nil
		}
		pass, err := c.look(ctx)
		if err != nil {
			c.outage.failed(ctx, c.cfg.Now())
			return report, err
		}
		var fresh []known
		for _, s := range sessions {
			if p := (placement{s.ID, s.Generation}); !seen[p] {
				seen[p] = true
				fresh = append(fresh, known{s, asked})
			}
		}
		report.add(c.each(ctx, fresh, pass))
		switch {
		case ctx.Err() != nil:
			return report, ctx.Err()
		case len(sessions) < limit:
			return report, nil
		case len(fresh) == 0: // what cannot be moved fills the batch, and hides what can
			limit *= 2
		}
	}
}

// Run calls Rehome until the context ends, and returns the context's error. Outages are logged, and change nothing.
func (c *Controller) Run(ctx context.Context) error {
	for {
		report, err := c.Rehome(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			c.cfg.Logger.Warn("stranded sessions cannot be looked at: trying again", "error", err)
		case report != (Report{}):
			c.cfg.Logger.Info("sessions were stranded", "moved", report.Moved, "finished", report.Finished, "ended", report.Ended,
				"waiting", report.Waiting, "stuck", report.Stuck, "failed", report.Failed)
		}
		// Controllers that began together do not ask together for ever.
		wait := c.cfg.Interval/2 + rand.N(max(1, c.cfg.Interval))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// pass is what one batch is judged by.
type pass struct {
	servers map[registry.ID]registry.Server
	now     time.Time // by the registry's clock, after it has said what is stranded
	waiting bool      // silence means nothing yet
}

func (c *Controller) look(ctx context.Context) (pass, error) {
	byID, err := c.servers.list(ctx)
	if err != nil {
		return pass{}, err
	}
	selection, err := c.cfg.Directory.Select(ctx, registry.Query{})
	if err != nil && !errors.Is(err, registry.ErrNoServer) {
		return pass{}, err
	}
	anybody := false
	for _, server := range byID {
		anybody = anybody || server.Fresh(selection.At, c.cfg.Freshness)
	}
	return pass{byID, selection.At, c.outage.heard(c.cfg.Now(), c.cfg.Freshness, anybody)}, nil
}

// each rehomes sessions, some at once.
func (c *Controller) each(ctx context.Context, sessions []known, p pass) Report {
	var report Report
	if c.cfg.Concurrency == 1 {
		for _, s := range sessions {
			report.add(c.rehome(ctx, s, p))
		}
		return report
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, c.cfg.Concurrency)
	for _, s := range sessions {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one := c.rehome(ctx, s, p)
			mu.Lock()
			defer mu.Unlock()
			report.add(one)
		})
	}
	wg.Wait()
	return report
}

// rehome deals with one session.
func (c *Controller) rehome(ctx context.Context, s known, p pass) Report {
	if ctx.Err() != nil {
		return Report{}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if !s.ExpiresAt.IsZero() && !p.now.Before(s.ExpiresAt) {
		if _, err := c.cfg.Sessions.End(ctx, s.ID, "expired"); err != nil {
			return c.failed(s, err)
		}
		return Report{Ended: 1}
	}
	server, ok := p.servers[s.Server]
	next := s
	switch there := ok && !server.Draining && server.Fresh(p.now, c.cfg.Freshness); {
	case there && s.State == registry.Active:
		return Report{} // its server has come back
	case !there && ok && !server.Draining && s.State == registry.Active && p.waiting:
		return Report{Waiting: 1}
	case !there:
		var err error
		if next, err = c.ask(func() (registry.Session, error) { return c.cfg.Sessions.Move(ctx, s.ID, s.Generation) }); err != nil {
			return c.failed(s, err)
		}
	}
	// Whoever else moves it meanwhile finishes it, too.
	connection, err := c.settle(ctx, next, func() (registry.Session, error) { return registry.Session{}, errElsewhere })
	if err != nil {
		return c.failed(s, err)
	}
	if connection.Session.Server == s.Server {
		return Report{Finished: 1}
	}
	c.cfg.Logger.Debug("a session has moved", "session", s.ID, "generation", connection.Session.Generation,
		"from", s.Server, "to", connection.Session.Server)
	if c.cfg.Moved != nil {
		c.cfg.Moved(ctx, connection)
	}
	return Report{Moved: 1}
}

// errElsewhere: another controller has the session in hand.
var errElsewhere = errors.New("another controller moves or ends it")

func (c *Controller) failed(s known, err error) Report {
	switch {
	case errors.Is(err, errElsewhere), errors.Is(err, registry.ErrConflict):
		return Report{}
	case errors.Is(err, registry.ErrNoServer):
		c.cfg.Logger.Warn("no server for a stranded session: it stays where it is", "session", s.ID, "server", s.Server, "error", err)
		return Report{Stuck: 1}
	}
	c.cfg.Logger.Warn("a stranded session could not be moved", "session", s.ID, "server", s.Server, "error", err)
	return Report{Failed: 1}
}

func (r *Report) add(other Report) {
	r.Moved += other.Moved
	r.Finished += other.Finished
	r.Ended += other.Ended
	r.Waiting += other.Waiting
	r.Stuck += other.Stuck
	r.Failed += other.Failed
}
