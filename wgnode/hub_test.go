package wgnode

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSubscriptionSeesEverythingFromItsPlace(t *testing.T) {
	r := startRig(t, func(c *Config) { c.EventBuffer = 8 })
	r.add(t, PeerSpec{})
	late := r.Subscribe()
	r.add(t, PeerSpec{})
	require.Equal(t, []EventKind{NodeStarted, PeerAdded, PeerAdded}, r.kinds())
	e, err := late.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(3), e.Sequence)

	resumed := r.SubscribeAfter(1)
	e, err = resumed.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(2), e.Sequence)

	beyond := r.SubscribeAfter(1000)
	r.add(t, PeerSpec{})
	e, err = beyond.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(4), e.Sequence)
}

func TestSlowReaderIsToldWhatItMissed(t *testing.T) {
	r := startRig(t, func(c *Config) { c.EventBuffer = 4 })
	require.Equal(t, []EventKind{NodeStarted}, r.kinds())
	for range 10 {
		r.add(t, PeerSpec{})
	}
	events := r.drain()
	require.Len(t, events, 5)
	require.Equal(t, Missed, events[0].Kind)
	require.Equal(t, uint64(6), events[0].Count)
	require.Equal(t, uint64(7), events[0].Sequence)
	require.False(t, events[0].Time.IsZero())
	for i, e := range events[1:] {
		require.Equal(t, PeerAdded, e.Kind)
		require.Equal(t, uint64(8+i), e.Sequence)
	}
}

// TestHubIsALog compares readers of a hub with a log that forgets nothing: each event is delivered or counted as missed,
// in its place.
func TestHubIsALog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 10).Draw(t, "size")
		h := newHub(size)
		type reader struct {
			sub  Subscription
			next int // what the log says comes next
		}
		var log []string
		readers := []*reader{{sub: Subscription{hub: h}}}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				var batch []Event
				for range rapid.IntRange(0, 4).Draw(t, "n") {
					text := rapid.StringMatching(`[a-z]{3}`).Draw(t, "text")
					log = append(log, text)
					batch = append(batch, Event{Kind: NodeChanged, Detail: text})
				}
				h.publish(batch...)
			},
			"subscribe": func(*rapid.T) {
				readers = append(readers, &reader{Subscription{hub: h, after: h.last}, len(log)})
			},
			"read": func(t *rapid.T) {
				r := rapid.SampledFrom(readers).Draw(t, "reader")
				if r.next == len(log) {
					_, wait, closed := h.next(r.sub.after)
					require.NotNil(t, wait)
					require.False(t, closed)
					return
				}
				e, err := r.sub.Next(t.Context())
				require.NoError(t, err)
				if kept := len(log) - size; r.next < kept {
					require.Equal(t, Missed, e.Kind)
					require.Equal(t, uint64(kept-r.next), e.Count)
					r.next = kept
					return
				}
				require.Equal(t, log[r.next], e.Detail)
				r.next++
				require.Equal(t, uint64(r.next), e.Sequence)
			},
		})
	})
}

func TestWaitingReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(4)
		var wg sync.WaitGroup
		got := make([][]EventKind, 3)
		for i := range got {
			wg.Go(func() {
				sub := Subscription{hub: h}
				for e := range sub.All(t.Context()) {
					got[i] = append(got[i], e.Kind)
				}
			})
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		wg.Go(func() {
			sub := Subscription{hub: h, after: 2}
			if _, err := sub.Next(ctx); err != errInjected { //nolint:errorlint // the very cause is wanted
				t.Errorf("Next returned %v", err)
			}
		})
		synctest.Wait()
		cancel(errInjected)
		synctest.Wait()
		h.publish(Event{Kind: PeerAdded})
		synctest.Wait()
		h.publish(Event{Kind: PeerRemoved})
		h.close()
		h.publish(Event{Kind: PeerAdded}) // too late
		wg.Wait()
		for _, kinds := range got {
			require.Equal(t, []EventKind{PeerAdded, PeerRemoved}, kinds)
		}
	})
}

func TestAllStopsWhenTheLoopDoes(t *testing.T) {
	h := newHub(4)
	h.publish(Event{Kind: PeerAdded}, Event{Kind: PeerAdded})
	sub := Subscription{hub: h}
	for range sub.All(t.Context()) {
		break
	}
	e, err := sub.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(2), e.Sequence)
}

func TestEventTexts(t *testing.T) {
	var seen []string
	for k := Missed; k <= UsageLogFailed; k++ {
		require.NotContains(t, k.String(), "event-")
		require.NotContains(t, seen, k.String())
		seen = append(seen, k.String())
	}
	require.Equal(t, "event-0", EventKind(0).String())
	require.Equal(t, "event--1", EventKind(-1).String())
	require.Equal(t, "event-1000", EventKind(1000).String())
	require.Equal(t, "reason-0", RemovalReason(0).String())
	require.True(t, slices.IsSorted([]EventKind{Missed, NodeStarted, UsageLogFailed}))

	e := Event{Sequence: 7, Kind: PeerRemoved, Account: "a b", Reason: RemovalExpired, Percent: 80, Detail: "x\ny", Err: errInjected, Count: 3}
	require.Equal(t, `7 0001-01-01T00:00:00Z peer-removed account="a b" reason=expired percent=80 detail="x\ny" `+
		`error="injected fault" count=3`, e.String())
}
