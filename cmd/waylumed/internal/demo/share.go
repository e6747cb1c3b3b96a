package demo

import (
	"context"

	"github.com/waylume/waylume/shaping"
)

// shareTolerance is how far a peer's part may be off an equal one, in percent.
const shareTolerance = 10

// sharedTest is an account whose peers have no limit but the account's.
type sharedTest struct {
	account string
	limit   shaping.Rate
	members []sharedMember
}

type sharedMember struct {
	*speedTest
	streams int
}

// measure lets all peers of the account download at once.
func (t *sharedTest) measure(ctx context.Context, row *SharedLimit) error {
	row.Account = t.account
	for _, m := range t.members {
		stop, err := m.receive(ctx, m.streams)
		if err != nil {
			return err
		}
		defer stop()
	}
	before, after, d, err := span(ctx, settle, func() []volume {
		now := make([]volume, len(t.members))
		for i, m := range t.members {
			now[i] = m.client.tap.received()
		}
		return now
	})
	if err != nil {
		return err
	}
	var all volume
	for i, m := range t.members {
		got := after[i].since(before[i])
		all.bytes += got.bytes
		all.payload += got.payload
		part := newRate(t.limit/shaping.Rate(len(t.members)), got.bytes, got.payload, d)
		row.Shares = append(row.Shares, Share{Peer: m.client.peer.Name, Streams: m.streams, Rate: part})
		row.within("the part of "+m.client.peer.Name, part, shareTolerance)
	}
	row.Download = newRate(t.limit, all.bytes, all.payload, d)
	row.within("the account together", row.Download, tolerance)
	return nil
}
