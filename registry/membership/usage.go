package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/waylume/waylume/registry"
)

// reports tells what peers used until the context ends or nothing is to be asked any more. The source is the queue; one report is
// under way at a time, and the same until it is taken.
func (m *Member) reports(ctx context.Context) {
	failures, told := 0, false
	wait := m.pace.within(m.cfg.UsagePeriod)
	for m.sleep(ctx, wait, nil) {
		s := m.State()
		if s.Phase != Joined || !s.Registered || !m.breaker.IsClosed() || !m.knowsClock() {
			// Whether the registry is there, and what time it is there, is for heartbeats to find out.
			wait = m.pace.around(min(m.cfg.UsagePeriod, s.Interval), jitter)
			continue
		}
		more, err := m.report(ctx)
		if ctx.Err() != nil {
			return
		}
		told = m.noteUsage(err, failures, told)
		switch {
		case err == nil && more:
			failures = 0
			// Those that are behind after an outage are so all at once.
			wait = m.pace.around(min(m.cfg.UsagePeriod, s.Interval/spreadShare), jitter)
		case err == nil:
			failures = 0
			wait = m.pace.regular(m.cfg.UsagePeriod)
		case errors.Is(err, registry.ErrDenied), errors.Is(err, registry.ErrInvalid):
			failures++
			wait = m.pace.around(slowly, refusalJitter)
		default:
			failures++
			wait = m.pace.afterError(err, failures, s.Interval)
		}
	}
}

// noteUsage logs when reports begin to fail, but for what heartbeats tell of, and when they do not any more. It returns whether
// the failure that goes on, if any, was told.
func (m *Member) noteUsage(err error, failures int, told bool) bool {
	m.mu.Lock()
	m.state.UsageError = err
	m.mu.Unlock()
	switch {
	case err == nil:
		if told {
			m.log(slog.LevelInfo, "usage is reported again", "failed_calls", failures)
		}
		return false
	case told, errors.Is(err, registry.ErrUnavailable), errors.Is(err, registry.ErrUnknownServer):
		return told
	}
	m.log(slog.LevelError, "usage could not be reported; it is kept, and tried again", "error", err)
	return true
}

// report sends one report, if there is something to tell, and says whether there is more.
func (m *Member) report(ctx context.Context) (more bool, err error) {
	if !m.takeTurn(ctx) {
		return false, ctx.Err()
	}
	defer m.endTurn()
	if m.store.known().Usage.Skip {
		return false, m.skip(ctx)
	}
	chunk, err := m.begin(ctx)
	f := m.store.known()
	if err != nil || f.Usage.UpTo == "" {
		return chunk.More, err
	}
	if chunk.To.Before(chunk.From) { // the clock was set back
		chunk.From, chunk.To = chunk.To, chunk.From
	}
	report := registry.UsageReport{
		Server: f.Server, Sequence: f.Usage.Sequence + 1, Usages: chunk.Usages,
		From: chunk.From.Add(f.Usage.Shift), To: chunk.To.Add(f.Usage.Shift),
	}
	var receipt registry.UsageReceipt
	err = m.ask(ctx, func(s *State) { s.Reports++ }, func(ctx context.Context) (err error) {
		receipt, err = m.cfg.Registry.ReportUsage(ctx, report)
		return err
	})
	if err == nil && receipt.Sequence != report.Sequence {
		err = fmt.Errorf("%w: report %d was sent, and %d is the last that was taken", registry.ErrGap, report.Sequence, receipt.Sequence)
	}
	switch {
	case errors.Is(err, registry.ErrUnknownServer):
		m.rejoin("fleet does not know the node any more: it registers again", err)
		m.beatNow()
	case errors.Is(err, registry.ErrGap):
		m.rejoin("fleet has taken other usage reports than the node sent: it registers again to learn which", err)
		m.beatNow()
	}
	if err != nil {
		return false, err
	}
	if chunk.Lost {
		m.countLost(chunk)
	}
	m.mu.Lock()
	m.state.UsageReportedTo, m.state.PendingUsage = chunk.To, chunk.More
	m.mu.Unlock()
	// When it does not get onto the disk, the same is sent again after a restart, and changes nothing.
	return chunk.More, m.keep(func(f *file) { f.Usage.take() })
}

// begin returns what the report under way says. Without one it has another be so, if there is something to tell.
func (m *Member) begin(ctx context.Context) (UsageChunk, error) {
	u := m.store.known().Usage
	if u.UpTo != "" {
		if err := m.keep(func(*file) {}); err != nil { // it must not be sent before it is on the disk
			return UsageChunk{}, err
		}
		chunk, err := m.cfg.Usage.UsageOf(ctx, u.After, u.UpTo)
		if err != nil {
			return UsageChunk{}, fmt.Errorf("read usage of the report under way: %w", err)
		}
		if chunk.From.IsZero() || chunk.To.IsZero() { // nothing of it is kept any longer: an empty report takes its number
			chunk.From = time.Now()
			chunk.To = chunk.From
		}
		return chunk, nil
	}
	chunk, err := m.usageAfter(ctx, u.After)
	if err != nil {
		return UsageChunk{}, err
	}
	shift, known := m.clock()
	err = m.keep(func(f *file) {
		if len(chunk.Usages) > 0 {
			f.Usage.UpTo = chunk.Next
			if known { // else what was right for the report before is the best guess
				f.Usage.Shift = shift
			}
		} else {
			f.Usage.After = chunk.Next
		}
	})
	m.mu.Lock()
	m.state.PendingUsage = len(chunk.Usages) > 0 || chunk.More
	m.mu.Unlock()
	if len(chunk.Usages) == 0 && chunk.Lost {
		m.countLost(chunk)
	}
	return chunk, err
}

// clock returns what makes times of this clock the registry's, and whether this process has heard of that clock.
func (m *Member) clock() (shift time.Duration, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shift, m.clockKnown
}

func (m *Member) knowsClock() bool {
	_, known := m.clock()
	return known
}

// usageAfter trusts the source as far as a source can be wrong without being noticed.
func (m *Member) usageAfter(ctx context.Context, after string) (UsageChunk, error) {
	chunk, err := m.cfg.Usage.UsageAfter(ctx, after, registry.MaxUsages)
	switch n := len(chunk.Usages); {
	case err != nil:
	case n > registry.MaxUsages:
		err = fmt.Errorf("%d usages where at most %d were asked for", n, registry.MaxUsages)
	case len(chunk.Next) > MaxCursor:
		err = fmt.Errorf("a place of %d bytes, more than %d", len(chunk.Next), MaxCursor)
	case chunk.Next == after && (n > 0 || chunk.More):
		err = errors.New("something follows, and the place stays where it was")
	case n > 0 && (chunk.Next == "" || chunk.From.IsZero() || chunk.To.IsZero()):
		err = errors.New("usages without a place or times")
	}
	if err != nil {
		return UsageChunk{}, fmt.Errorf("read usage: %w", err)
	}
	return chunk, nil
}

func (m *Member) countLost(chunk UsageChunk) {
	m.mu.Lock()
	m.state.LostUsage++
	m.mu.Unlock()
	m.log(slog.LevelWarn, "usage is lost that was not kept for long enough to be reported, or cannot be read", "before", chunk.To)
}
