package fleet

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/membership"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
)

// usageSpan bounds the time that one report covers, so that what a key used is not mistaken for what it used long after, in another
// session.
const usageSpan = time.Hour

var _ membership.UsageSource = usageOf{}

// usageOf is what a node's peers used, from its usage log. A place is a position there.
type usageOf struct{ node *wgnode.Node }

// UsageAfter returns what follows a place.
func (u usageOf) UsageAfter(ctx context.Context, after string, limit int) (membership.UsageChunk, error) {
	var at usagelog.Position
	if err := at.UnmarshalText([]byte(after)); err != nil {
		return membership.UsageChunk{}, err
	}
	chunk, err := u.node.UsageAfter(ctx, at, usagelog.Limits{Subjects: limit, Span: usageSpan})
	if errors.Is(err, wgnode.ErrNoUsageLog) || errors.Is(err, wgnode.ErrNotSupported) {
		return membership.UsageChunk{Next: after}, nil
	}
	return chunkOf(chunk), err
}

// UsageOf returns what lies between two places.
func (u usageOf) UsageOf(ctx context.Context, after, upTo string) (membership.UsageChunk, error) {
	var from, to usagelog.Position
	if err := from.UnmarshalText([]byte(after)); err != nil {
		return membership.UsageChunk{}, err
	}
	if err := to.UnmarshalText([]byte(upTo)); err != nil {
		return membership.UsageChunk{}, err
	}
	chunk, err := u.node.UsageOf(ctx, from, to)
	return chunkOf(chunk), err
}

func chunkOf(c wgnode.UsageChunk) membership.UsageChunk {
	chunk := membership.UsageChunk{From: c.Span.From, To: c.Span.To, Next: c.Next.String(), More: c.More, Lost: c.Lost}
	for _, used := range c.Usages {
		key, _ := used.Subject.Peer()
		chunk.Usages = append(chunk.Usages, registry.PeerUsage{
			PublicKey: registry.Key(key), Download: bytesOf(used.Counters.Download), Upload: bytesOf(used.Counters.Upload),
		})
	}
	return chunk
}

// bytesOf is a counter as the fleet has it: nothing counts past 2^63.
func bytesOf(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
