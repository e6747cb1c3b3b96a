package membership

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/waylume/waylume/registry"
)

// outageFailures is from how many failures in sequence on one speaks of an outage. One lost call is nothing to tell people of.
const outageFailures = 3

// State says how the node stands with the fleet.
func (m *Member) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.Breaker = m.breaker.State().String()
	return s
}

// log writes outside mu: a logger may be slow.
func (m *Member) log(level slog.Level, message string, args ...any) {
	m.cfg.Logger.Log(context.Background(), level, message, args...)
}

// enterLocked returns the phase before and how long that was.
func (m *Member) enterLocked(phase Phase) (Phase, time.Duration) {
	was, lasted := m.state.Phase, time.Since(m.state.Since)
	if was == Superseded || was == Left { // what was still under way then changes nothing
		return phase, 0
	}
	if was != phase {
		m.state.Phase, m.state.Since = phase, time.Now()
	}
	return was, lasted
}

// failed is told of a call that had no answer, when it was made, and the how manyeth in sequence it is.
func (m *Member) failed(err error, failures int, at time.Time) {
	ofNode := errors.As(err, new(nodeError))
	level, message := slog.LevelDebug, "fleet was asked in vain"
	m.mu.Lock()
	switch {
	case ofNode && !errors.As(m.state.LastError, new(nodeError)):
		level, message = slog.LevelError, "node cannot say what to register"
	case !ofNode && failures >= outageFailures && m.state.Phase != Outage:
		level, message = slog.LevelWarn, "fleet cannot be reached; peers are served as before, and it is tried again and again"
		m.enterLocked(Outage)
	}
	m.state.LastError, m.state.Failures = err, failures
	if failures == 1 {
		m.outageSince = at
	}
	m.mu.Unlock()
	m.log(level, message, "error", err, "failures", failures)
}

// reachedLocked ends an outage, and returns what is to be logged of it: how long it was, 0 for none, and how many calls it took.
func (m *Member) reachedLocked() (outage time.Duration, failures int) {
	if m.state.Phase == Outage {
		outage, failures = time.Since(m.outageSince), m.state.Failures
	}
	m.state.Failures = 0
	return outage, failures
}

func (m *Member) logReached(outage time.Duration, failures int) {
	if outage > 0 {
		m.log(slog.LevelInfo, "fleet can be reached again", "outage", outage.Round(time.Second), "failed_calls", failures)
	}
}

// refused is told of an answer that says no.
func (m *Member) refused(phase Phase, err error) {
	m.mu.Lock()
	outage, failures := m.reachedLocked()
	m.state.LastError = err
	was, _ := m.enterLocked(phase)
	m.mu.Unlock()
	m.logReached(outage, failures)
	if was != phase {
		m.log(slog.LevelError, "fleet refuses the node; peers are served as before", "phase", phase, "error", err)
	}
}

// superseded ends all.
func (m *Member) superseded(err error) {
	m.mu.Lock()
	outage, failures := m.reachedLocked()
	m.state.LastError = err
	m.state.Registered = false
	m.enterLocked(Superseded)
	server, incarnation := m.state.Server, m.state.Incarnation
	m.mu.Unlock()
	m.logReached(outage, failures)
	m.log(slog.LevelError, "another process has registered as this server; this one asks the fleet nothing more until it is started again: "+
		"see that only one runs with this name and key", "server", server, "incarnation", incarnation, "error", err)
	m.halt()
}

// rejoin has the node register again.
func (m *Member) rejoin(message string, err error) {
	m.mu.Lock()
	outage, failures := m.reachedLocked()
	m.state.LastError, m.state.Registered = err, false
	m.enterLocked(Joining)
	server := m.state.Server
	m.mu.Unlock()
	m.logReached(outage, failures)
	m.log(slog.LevelWarn, message, "server", server, "error", err)
}

// joined is told of a registration that succeeded.
func (m *Member) joined(r registry.Registered) {
	before := m.store.known()
	var note string
	_ = m.keep(func(f *file) { note = f.reconcile(r) }) // State and the log say so; what needs the file tries again
	m.mu.Lock()
	outage, failures := m.reachedLocked()
	m.state.LastError, m.state.Registered, m.state.Incarnation = nil, true, r.Incarnation
	was, lasted := m.enterLocked(Joined)
	m.mu.Unlock()
	m.logReached(outage, failures)
	m.logAnswered(was, lasted)
	m.log(slog.LevelInfo, "node has registered with the fleet", "server", r.Server, "incarnation", r.Incarnation)
	if note != "" {
		m.log(slog.LevelWarn, note, "server", r.Server, "reports_here", before.Usage.Sequence, "reports_taken", r.UsageSequence)
	}
}

// logAnswered tells the end of a refusal.
func (m *Member) logAnswered(was Phase, lasted time.Duration) {
	switch was {
	case Denied, NameTaken, Refused:
		m.log(slog.LevelInfo, "fleet does not refuse the node any more", "phase", was, "lasted", lasted.Round(time.Second))
	}
}

// answered is told of the answer to a heartbeat of a server, which was sent at some time.
func (m *Member) answered(server registry.ID, a registry.Answer, sent time.Time) {
	if len(a.Releases) > registry.MaxReleases {
		a.Releases, a.More = a.Releases[:registry.MaxReleases], true
	}
	m.mu.Lock()
	outage, failures := m.reachedLocked()
	m.state.LastError = nil
	m.state.Interval = m.cfg.Interval
	if a.Interval > 0 {
		m.state.Interval = min(max(time.Duration(min(a.Interval, 86_400))*time.Second, MinInterval), MaxInterval)
	}
	if !a.Now.IsZero() {
		now := time.Now()
		half := now.Sub(sent) / 2
		m.state.ClockOffset = a.Now.Sub(sent.Add(half))
		m.shift = m.state.ClockOffset
		if m.shift.Abs() <= half { // the time that the call took explains it
			m.shift = 0
		}
	}
	m.clockKnown = true
	m.state.FleetDraining = a.Draining
	m.orders, m.ordersOf = a, server
	if sent.Sub(m.ambiguous) > lateArrival { // whatever came late would have superseded this heartbeat
		m.ambiguous = time.Time{}
	}
	was, lasted := m.enterLocked(Joined)
	m.mu.Unlock()
	m.logReached(outage, failures)
	m.logAnswered(was, lasted)
	wake(m.workWake)
}

// showFileLocked has the state say what the file does.
func (m *Member) showFileLocked() {
	f := m.store.known()
	m.state.Server, m.state.Released = f.Server, m.store.kept().Released
	m.state.UsageSequence = f.Usage.Sequence
	m.state.PendingUsage = m.state.PendingUsage || f.Usage.UpTo != ""
}

// keep changes what outlives the process. After an error it is changed for this process.
func (m *Member) keep(change func(*file)) error {
	err := m.store.update(change)
	m.mu.Lock()
	was := m.state.FileError
	m.state.FileError = err
	m.showFileLocked()
	m.mu.Unlock()
	switch {
	case err != nil && was == nil:
		m.log(slog.LevelError, "state file cannot be written: releases are not acknowledged and usage is not reported until it can", "error", err)
	case err == nil && was != nil:
		m.log(slog.LevelInfo, "state file can be written again")
	}
	return err
}
