package wgnode

import (
	"context"
	"fmt"

	"github.com/waylume/waylume/usagelog"
)

// UsageFollower is what a [UsageLog] can do besides, for [Node.UsageAfter]; [usagelog.Log] can.
type UsageFollower interface {
	After(
		ctx context.Context, after usagelog.Position, limits usagelog.Limits, match func(usagelog.Subject) bool,
	) (usagelog.Chunk, error)
	Between(ctx context.Context, after, upTo usagelog.Position, match func(usagelog.Subject) bool) (usagelog.Chunk, error)
}

var _ UsageFollower = (*usagelog.Log)(nil)

// UsageChunk is what peers used between two positions of the usage log.
type UsageChunk struct {
	// Span is the times of the readings that the chunk is of.
	Span usagelog.Span
	// Usages are the peers that used anything, by key and Sequence.
	Usages []LoggedUsage
	// Next is where the next chunk begins. More: there is one already.
	Next usagelog.Position
	More bool
	// Lost: what was used after the position that was given is not known in full, and will not be; see [usagelog.Chunk].
	Lost bool
	// Damage is what could not be read of the log; what it held counts later.
	Damage []usagelog.Damage
}

// UsageAfter returns what peers used after a position of the usage log, within limits, in the order in which it was logged: for
// whoever passes usage on, each byte once, whatever the clock does and however often the node starts. The zero position is the
// beginning of what the log knows. What was used after the last reading, at most [Config].UsageLogPeriod ago, is in a later
// chunk; a peer that is removed has its last reading at once. It waits for no change, and none for it. Errors:
// [ErrNoUsageLog], [ErrNotSupported] of a log that is no [UsageFollower], [ErrNotStarted], [ErrClosed],
// [usagelog.ErrInvalid], and what the log returns.
func (n *Node) UsageAfter(ctx context.Context, after usagelog.Position, limits usagelog.Limits) (UsageChunk, error) {
	return n.usageChunk(func(log UsageFollower) (usagelog.Chunk, error) { return log.After(ctx, after, limits, isPeer) })
}

// UsageOf returns what UsageAfter returned once, for the same position and that Next; see [usagelog.Log.Between]. Errors are as of
// UsageAfter.
func (n *Node) UsageOf(ctx context.Context, after, upTo usagelog.Position) (UsageChunk, error) {
	return n.usageChunk(func(log UsageFollower) (usagelog.Chunk, error) { return log.Between(ctx, after, upTo, isPeer) })
}

func isPeer(s usagelog.Subject) bool { return s.Kind == usagelog.Peer }

func (n *Node) usageChunk(ask func(UsageFollower) (usagelog.Chunk, error)) (UsageChunk, error) {
	chunk, err := n.readChunk(ask)
	if err != nil {
		return UsageChunk{}, &OpError{Op: "read usage log", Err: err}
	}
	return chunk, nil
}

func (n *Node) readChunk(ask func(UsageFollower) (usagelog.Chunk, error)) (UsageChunk, error) {
	if n.cfg.UsageLog == nil {
		return UsageChunk{}, ErrNoUsageLog
	}
	follower, ok := n.cfg.UsageLog.(UsageFollower)
	if !ok {
		return UsageChunk{}, fmt.Errorf("%w: the usage log has no methods After and Between", ErrNotSupported)
	}
	if err := n.life.check(); err != nil {
		return UsageChunk{}, err
	}
	logged, err := ask(follower)
	if err != nil {
		return UsageChunk{}, err
	}
	chunk := UsageChunk{Span: logged.Span, Next: logged.Next, More: logged.More, Lost: logged.Lost, Damage: logged.Damage}
	for _, u := range logged.Usages {
		subject, err := subjectOf(u.Subject)
		if err != nil {
			return UsageChunk{}, err
		}
		chunk.Usages = append(chunk.Usages, LoggedUsage{subject, u.Subject.Sequence, u.Span, countersOf(u.Counters)})
	}
	return chunk, nil
}
