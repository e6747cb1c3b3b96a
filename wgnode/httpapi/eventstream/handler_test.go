package eventstream_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
)

func TestStream(t *testing.T) {
	w := newWorld(t, eventstream.Config{Retry: 1500 * time.Millisecond}, 0)
	defer w.close()
	r := w.open("", "")
	defer r.close()
	require.Equal(t, http.StatusOK, r.res.StatusCode)
	require.Equal(t, "text/event-stream", r.res.Header.Get("Content-Type"))
	require.Equal(t, "no-store", r.res.Header.Get("Cache-Control"))
	require.Equal(t, "no", r.res.Header.Get("X-Accel-Buffering"))
	first := r.block()
	require.Len(t, first, 2)
	require.Equal(t, "retry: 1500", first[0])
	boot, ok := strings.CutSuffix(strings.TrimPrefix(first[1], "id: "), "-1")
	require.True(t, ok, first[1])
	require.Len(t, boot, 16)

	w.account("a")
	added, err := w.node.AddPeer(ctx, wgnode.PeerSpec{Account: "a"})
	require.NoError(t, err)
	require.NoError(t, w.node.RemovePeer(ctx, added.PublicKey))
	key := added.PublicKey.String()

	block := r.block()
	require.Equal(t, "id: "+boot+"-2", block[0])
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(block[1], "data: ")), &fields))
	at, err := time.Parse(time.RFC3339Nano, fields["time"].(string))
	require.NoError(t, err)
	require.Equal(t, time.UTC, at.Location())
	delete(fields, "time")
	require.Equal(t, map[string]any{"kind": "account_added", "boot": boot, "sequence": 2.0, "account": "a"}, fields)

	e := r.event()
	require.Equal(t, boot+"-3", e.ID)
	e.ID, e.Time = "", time.Time{}
	require.Equal(t, eventstream.Event{Kind: "peer_added", Boot: boot, Sequence: 3, Peer: key, Account: "a"}, e)
	e = r.event()
	e.ID, e.Time = "", time.Time{}
	require.Equal(t, eventstream.Event{
		Kind: "peer_removed", Boot: boot, Sequence: 4, Peer: key, Account: "a", Reason: "requested",
		Transferred: &eventstream.Transfer{},
	}, e)
}

// A stream outlives what the server allows for an answer, and says that it is there, and where.
func TestKeepAlive(t *testing.T) {
	w := newWorld(t, eventstream.Config{KeepAlive: 300 * time.Millisecond}, 0)
	defer w.close()
	r := w.open("kind=peer_added", "")
	defer r.close()
	place := strings.TrimPrefix(r.block()[1], "id: ")
	for range 5 {
		require.Equal(t, []string{": keep-alive", "id: " + place}, r.block())
	}
	w.account("a") // not asked for: the place moves on
	boot := strings.TrimSuffix(place, "-1")
	require.Eventually(t, func() bool { return r.block()[1] == "id: "+boot+"-2" }, soon, time.Millisecond)
}

func TestResume(t *testing.T) {
	w := newWorld(t, eventstream.Config{}, 4)
	defer w.close()
	r := w.open("", "")
	w.account("a")
	seen := r.event()
	r.close()
	w.account("b")
	w.account("c")
	boot := seen.Boot

	for _, r := range []*raw{w.open("", seen.ID), w.open("last_event_id="+seen.ID, ""), w.open("last_event_id=x-1", seen.ID)} {
		require.Equal(t, "b", r.event().Account)
		require.Equal(t, "c", r.event().Account)
		r.close()
	}
	for _, id := range names(6) { // more than the node keeps
		w.account(id)
	}
	r = w.open("account=account-5", seen.ID)
	e := r.event()
	e.Time = time.Time{}
	require.Equal(t, eventstream.Event{
		ID: boot + "-6", Kind: eventstream.Missed, Boot: boot, Sequence: 6, Count: 4, Reason: eventstream.FellBehind,
	}, e)
	require.Equal(t, "account-5", r.event().Account)
	r.close()

	for _, other := range []string{"0000000000000000-3", boot, boot + "-", boot + "-x", "nonsense", boot + "-99999999999999999999"} {
		r := w.open("", other)
		e := r.event()
		e.Time = time.Time{}
		require.Equal(t, eventstream.Event{ID: boot + "-0", Kind: eventstream.Missed, Boot: boot, Reason: eventstream.OtherBoot}, e,
			other)
		require.EqualValues(t, 6, r.event().Count, "and then all that is kept of this boot")
		require.Equal(t, "account-2", r.event().Account)
		r.close()
	}
}

func TestFilters(t *testing.T) {
	w := newWorld(t, eventstream.Config{}, 0)
	defer w.close()
	w.account("a")
	w.account("b")
	var keys []string
	for _, account := range []string{"a", "b", ""} {
		p, err := w.node.AddPeer(ctx, wgnode.PeerSpec{Account: account})
		require.NoError(t, err)
		keys = append(keys, p.PublicKey.String())
	}
	p, err := w.node.AddPeer(ctx, wgnode.PeerSpec{})
	require.NoError(t, err)
	require.NoError(t, w.node.MovePeer(ctx, p.PublicKey, "b"))
	require.NoError(t, w.node.MovePeer(ctx, p.PublicKey, "a"))
	w.account("end")
	last, err := wgtypes.ParseKey(keys[2])
	require.NoError(t, err)
	require.NoError(t, w.node.RemovePeer(ctx, last))
	for query, want := range map[string][]uint64{
		"kind=node_started&kind=peer_moved&kind=account_added": {1, 2, 3, 8, 9, 10},
		"account=b&account=end":                                {3, 5, 8, 9, 10},
		"account=a&account=end&kind=account_added":             {2, 10},
		"peer=" + url.QueryEscape(keys[0]) + "&peer=" + url.QueryEscape(keys[2]) + "&kind=peer_added&kind=peer_removed": {4, 6, 11},
	} {
		r := w.open(query+"&last_event_id=x", "")
		require.Equal(t, eventstream.Missed, r.event().Kind)
		got := []uint64{}
		for range want {
			got = append(got, r.event().Sequence)
		}
		r.close()
		require.Equal(t, want, got, query)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, eventstream.Config{MaxStreams: 1}, 0)
	defer w.close()
	refused := func(res *http.Response, status int, parts ...string) {
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, status, res.StatusCode)
		require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
		for _, part := range parts {
			require.Contains(t, string(body), part)
		}
	}
	r := w.open("kind=peer_addded&peer=zzz&account=&colour=red&"+strings.Repeat("last_event_id=1&", 257), "")
	refused(r.res, http.StatusUnprocessableEntity, "/problems/invalid", `query.kind`,
		`\"peer_addded\" is none: give one of node_started, `,
		"query.peer", "is not a public key", "query.account", "query.colour", "it is given 257 times")
	r.stop()
	res, err := w.server.Client().Post(w.server.URL, "", http.NoBody) //nolint:bodyclose // refused does
	require.NoError(t, err)
	require.Equal(t, "GET", res.Header.Get("Allow"))
	refused(res, http.StatusMethodNotAllowed, "/problems/method-not-allowed")

	one := w.open("", "")
	one.block()
	r = w.open("", "")
	require.Equal(t, "5", r.res.Header.Get("Retry-After"))
	refused(r.res, http.StatusServiceUnavailable, "/problems/unavailable", "There are 1 streams of events already")
	r.stop()
	one.close()
	require.Eventually(t, func() bool { return w.events.Streams() == 0 }, soon, time.Millisecond)
	again := w.open("", "")
	require.Equal(t, http.StatusOK, again.res.StatusCode)
	again.close()
	w.events.Close()
	r = w.open("", "")
	refused(r.res, http.StatusServiceUnavailable, "The server is closing")
	r.stop()

	_, err = eventstream.New(eventstream.Config{MaxStreams: -1, KeepAlive: -1, WriteTimeout: 1, Retry: 1})
	for _, part := range []string{"Node is nil", "MaxStreams is -1", "KeepAlive is -1ns", "WriteTimeout is 1ns", "Retry is 1ns"} {
		require.ErrorContains(t, err, part)
	}
}

func TestEnds(t *testing.T) {
	t.Run("node", func(t *testing.T) {
		w := newWorld(t, eventstream.Config{}, 0)
		defer w.close()
		r := w.open("kind=peer_added", "")
		defer r.close()
		r.block()
		require.NoError(t, w.node.Close())
		e := r.event()
		require.Equal(t, eventstream.End, e.Kind)
		require.Equal(t, eventstream.NodeClosed, e.Reason)
		_, err := r.from.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("server", func(t *testing.T) {
		w := newWorld(t, eventstream.Config{}, 0)
		defer w.close()
		r := w.open("", "")
		defer r.close()
		r.block()
		var down sync.WaitGroup
		down.Go(func() { _ = w.server.Config.Shutdown(ctx) })
		e := r.event()
		require.Equal(t, eventstream.End, e.Kind)
		require.Equal(t, eventstream.ServerClosing, e.Reason)
		require.True(t, strings.HasSuffix(e.ID, "-1"))
		_, err := r.from.ReadByte()
		require.ErrorIs(t, err, io.EOF)
		down.Wait()
	})
	t.Run("renewed", func(t *testing.T) {
		w := newWorld(t, eventstream.Config{}, 0)
		defer w.close()
		r := w.open("", "")
		defer r.close()
		r.block()
		w.events.Renew()
		e := r.event()
		require.Equal(t, eventstream.End, e.Kind)
		require.Equal(t, eventstream.Renewed, e.Reason)
		_, err := r.from.ReadByte()
		require.ErrorIs(t, err, io.EOF)
		// Who comes again goes on from there, and nothing was missed.
		w.account("family")
		next := w.open("", e.ID)
		defer next.close()
		require.EqualValues(t, "account_added", next.event().Kind)
	})
}

// A reader that takes nothing is cut off; one that takes it late is told how much it has missed. The node waits for neither.
func TestSlowReaders(t *testing.T) {
	const kept = 16
	w := newWorld(t, eventstream.Config{WriteTimeout: 200 * time.Millisecond}, kept)
	defer w.close()
	r := w.open("", "")
	defer r.close()
	r.block()
	id := strings.Repeat("x", wgnode.MaxNameLen)
	w.account(id)
	happen := func() {
		require.NoError(t, w.node.Suspend(ctx, wgnode.OfAccount(id)))
		require.NoError(t, w.node.Resume(ctx, wgnode.OfAccount(id)))
	}
	for w.events.Streams() > 0 {
		happen()
	}
	for range kept { // a slow machine may have made no more than are kept while the stream was stuck
		happen()
	}
	last := r.lastWhole()
	next := w.open("", last.ID)
	defer next.close()
	e := next.event()
	require.Equal(t, eventstream.Missed, e.Kind)
	require.Equal(t, last.Sequence+e.Count, e.Sequence)
	require.Equal(t, e.Sequence+1, next.event().Sequence)
}

// lastWhole reads to the end of a stream that was cut off. What has no empty line after it does not count.
func (r *raw) lastWhole() (last eventstream.Event) {
	var next eventstream.Event
	for {
		line, err := r.from.ReadString('\n')
		if err != nil {
			return last
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			next.ID = value
		case "data":
			require.NoError(r.t, json.Unmarshal([]byte(value), &next))
		case "":
			last = next
		}
	}
}

func TestThousandStreams(t *testing.T) {
	const streams = 1000
	w := newWorld(t, eventstream.Config{}, 0)
	defer w.close()
	open := make([]*raw, streams)
	for i := range open {
		open[i] = w.open("", "")
		open[i].block()
	}
	require.Equal(t, streams, w.events.Streams())
	for _, id := range names(20) {
		w.account(id)
	}
	for _, r := range open {
		for i, id := range names(20) {
			e := r.event()
			require.Equal(t, id, e.Account)
			require.EqualValues(t, i+2, e.Sequence)
		}
		r.close()
	}
	require.Eventually(t, func() bool { return w.events.Streams() == 0 }, soon, time.Millisecond)
}
