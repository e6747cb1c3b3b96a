package wgnode

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

// UsageSummary is what subjects used in one span of time.
type UsageSummary struct {
	// Span is what the sums really cover: from one reading of all counters to another.
	Span usagelog.Span
	// Usages are the subjects that used anything: peers by key before accounts by ID, and each by Sequence; where some were asked
	// for, in their order.
	Usages []LoggedUsage
	// Damage is what could not be read of the log; what it held counts later.
	Damage []usagelog.Damage
}

// LoggedUsage is what one subject used in one span of time. It may have been removed since. A peer that was given another key
// has one for each, with the same Sequence.
type LoggedUsage struct {
	Subject  Subject
	Sequence uint64
	// Span is what Counters cover. It begins after that of the others if what was used before it is not known.
	Span usagelog.Span
	// Counters are inner IP bytes in that time.
	Counters quota.Counters
}

// UsageSeries is what one subject used, step by step.
type UsageSeries struct {
	Steps []UsageStep
	// Damage is as in [UsageSummary].
	Damage []usagelog.Damage
}

// UsageStep is one step of a series.
type UsageStep struct {
	// Span is what Counters cover. It may be nothing; then what was used, if anything, counts in a later step.
	Span usagelog.Span
	// Counters are inner IP bytes in that time.
	Counters quota.Counters
}

// UsageBetween returns what each peer and account used after a time, up to another, from the usage log: also of those that have
// been removed since. What was used after the last reading, at most [Config].UsageLogPeriod ago, is not in it yet; the span
// that the answer covers says so. With a subject it is that one's usage alone: of all peers that have had the key, under all
// keys that they have had, or of all accounts that have had the ID. It waits for no change, and none for it. Errors:
// [ErrNoUsageLog], [ErrNotStarted], [ErrClosed], [usagelog.ErrInvalid], and what the log returns.
func (n *Node) UsageBetween(ctx context.Context, from, to time.Time, only ...Subject) (UsageSummary, error) {
	summary, err := n.usageBetween(ctx, from, to, only)
	if err != nil {
		return UsageSummary{}, &OpError{Op: "read usage log", Err: err}
	}
	return summary, nil
}

func (n *Node) usageBetween(ctx context.Context, from, to time.Time, only []Subject) (UsageSummary, error) {
	logged, err := n.summary(ctx, from, to)
	if err != nil {
		return UsageSummary{}, err
	}
	summary := UsageSummary{Span: logged.Span, Damage: logged.Damage}
	usages := logged.Usages
	if len(only) > 0 {
		usages = n.chosen(logged, only)
	}
	for _, u := range usages {
		subject, err := subjectOf(u.Subject)
		if err != nil {
			return UsageSummary{}, err
		}
		summary.Usages = append(summary.Usages, LoggedUsage{subject, u.Subject.Sequence, u.Span, countersOf(u.Counters)})
	}
	return summary, nil
}

// UsageSeries returns what a peer or an account used between bounds, which ascend: after each, up to the next.
// [usagelog.Steps] makes those of hours or days. Which usage is a subject's, and the errors, are as for UsageBetween; a subject
// that the log does not have used nothing.
func (n *Node) UsageSeries(ctx context.Context, s Subject, bounds []time.Time) (UsageSeries, error) {
	series, err := n.usageSeries(ctx, s, bounds)
	if err != nil {
		return UsageSeries{}, &OpError{"read usage log of", s, err}
	}
	return series, nil
}

func (n *Node) usageSeries(ctx context.Context, s Subject, bounds []time.Time) (UsageSeries, error) {
	if len(bounds) < 2 {
		return UsageSeries{}, fmt.Errorf("%w: %d bounds: give 2 at least", usagelog.ErrInvalid, len(bounds))
	}
	logged, err := n.summary(ctx, bounds[0], bounds[len(bounds)-1])
	if err != nil {
		return UsageSeries{}, err
	}
	// One that used nothing is asked for all the same, for the spans.
	subjects := []usagelog.Subject{loggedAs(s, 0)}
	for i, u := range n.chosen(logged, []Subject{s}) {
		subjects = append(subjects[:i], u.Subject)
	}
	series := UsageSeries{Steps: make([]UsageStep, len(bounds)-1), Damage: logged.Damage}
	for _, subject := range subjects {
		part, err := n.cfg.UsageLog.Series(ctx, subject, bounds)
		if err != nil {
			return UsageSeries{}, err
		}
		for i, step := range part.Steps {
			series.Steps[i].add(step)
		}
	}
	return series, nil
}

// add adds what another subject used in the step.
func (s *UsageStep) add(step usagelog.Step) {
	if s.Span == (usagelog.Span{}) || step.Span.From.Before(s.Span.From) && step.Span != (usagelog.Span{}) {
		s.Span = step.Span
	}
	s.Counters.Download += step.Counters.Download
	s.Counters.Upload += step.Counters.Upload
}

// summary asks the log about all subjects.
func (n *Node) summary(ctx context.Context, from, to time.Time) (usagelog.Summary, error) {
	if n.cfg.UsageLog == nil {
		return usagelog.Summary{}, ErrNoUsageLog
	}
	if err := n.life.check(); err != nil {
		return usagelog.Summary{}, err
	}
	return n.cfg.UsageLog.Usage(ctx, from, to, nil)
}

// chosen are the usages of some subjects, each once. Of those that are there the node knows the number, also if they used
// nothing under the names that they have.
func (n *Node) chosen(summary usagelog.Summary, only []Subject) []usagelog.Usage {
	var usages []usagelog.Usage
	seen := make(map[usagelog.Subject]bool)
	for _, s := range only {
		as := loggedAs(s, n.numberOf(s))
		named := summary.Named(as.Kind, as.Name)
		for _, u := range summary.Usages {
			its := slices.Contains(named, u) || u.Subject.Kind == as.Kind && u.Subject.Sequence == as.Sequence
			if its && !seen[u.Subject] {
				seen[u.Subject] = true
				usages = append(usages, u)
			}
		}
	}
	return usages
}

// numberOf is the sequence of a subject that is there; 0: it is not.
func (n *Node) numberOf(s Subject) uint64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if e, ok := n.inv.find(s); ok {
		return e.common().sequence
	}
	return 0
}

// loggedAs is a subject in the log's words.
func loggedAs(s Subject, sequence uint64) usagelog.Subject {
	if key, ok := s.Peer(); ok {
		return usagelog.Subject{Kind: usagelog.Peer, Name: key.String(), Sequence: sequence}
	}
	id, _ := s.Account()
	return usagelog.Subject{Kind: usagelog.Account, Name: id, Sequence: sequence}
}

// subjectOf is a subject of the log in the node's words.
func subjectOf(s usagelog.Subject) (Subject, error) {
	if s.Kind == usagelog.Account {
		return OfAccount(s.Name), nil
	}
	key, err := parseKey(s.Name)
	if err != nil {
		return Subject{}, fmt.Errorf("the log has a peer %q, which %w: is it another program's?", s.Name, err)
	}
	return OfPeer(key), nil
}
