package eventstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// cutting is a network that ends each answer after some bytes, anywhere.
type cutting struct {
	http.RoundTripper
	after func() int64
}

func (c cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &cutBody{ReadCloser: res.Body, left: c.after()}
	}
	return res, err
}

type cutBody struct {
	io.ReadCloser
	left int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("cut off")
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// However often it is cut off, a reader that has begun sees each event once, in order, or is told exactly how many it missed.
func TestReadGoesOn(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		buffer := rapid.SampledFrom([]int{8, 1024}).Draw(r, "buffer")
		changes := rapid.IntRange(1, 60).Draw(r, "changes")
		least := rapid.Int64Range(60, 300).Draw(r, "least")
		spread := rapid.Int64Range(1, 2000).Draw(r, "spread")
		w := newWorld(r, eventstream.Config{Retry: time.Millisecond, KeepAlive: 20 * time.Millisecond}, buffer)
		defer w.close()
		var cuts atomic.Int32
		client := &http.Client{Transport: cutting{w.server.Client().Transport, func() int64 {
			if cuts.Add(1) > 12 {
				return 1 << 30
			}
			return least + rand.N(spread)
		}}}
		ctx, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		first := w.open("", "")
		place := first.block()[1][len("id: "):]
		first.close()

		var changing sync.WaitGroup
		changing.Go(func() {
			for _, id := range names(changes) {
				_, err := w.node.PutAccount(ctx, wgnode.AccountSpec{ID: id})
				if err != nil {
					panic(err)
				}
			}
		})
		defer changing.Wait()
		at, missed := uint64(1), uint64(0)
		for e, err := range eventstream.Read(ctx, client, w.server.URL, eventstream.ReadOptions{LastEventID: place}) {
			require.NoError(r, err)
			if e.Kind == eventstream.Missed {
				require.Equal(r, at+e.Count, e.Sequence)
				missed += e.Count
			} else {
				require.Equal(r, at+1, e.Sequence)
				require.Equal(r, fmt.Sprintf("account-%d", at-1), e.Account)
			}
			if at = e.Sequence; at == uint64(changes)+1 {
				break
			}
		}
		require.EqualValues(r, changes+1, at)
		if buffer > changes {
			require.Zero(r, missed)
		}
	})
}

// A place is known before the first event: what comes while the first connection is lost is not.
func TestReadFromTheBeginning(t *testing.T) {
	w := newWorld(t, eventstream.Config{Retry: time.Millisecond}, 0)
	defer w.close()
	connections := 0
	client := &http.Client{Transport: cutting{w.server.Client().Transport, func() int64 {
		connections++
		if connections == 1 {
			return int64(len("retry: 1\nid: 0123456789abcdef-1\n\n"))
		}
		return 1 << 30
	}}}
	retrying := func(err error, _ time.Duration) {
		require.EqualError(t, err, "cut off")
		w.account("a")
	}
	for e, err := range eventstream.Read(ctx, client, w.server.URL, eventstream.ReadOptions{Retrying: retrying}) {
		require.NoError(t, err)
		require.Equal(t, "a", e.Account)
		break
	}
	client.CloseIdleConnections()
}

// The program is started anew at the same address: the reader is told, and gets what the new node had to tell from its start.
func TestReadAnotherBoot(t *testing.T) {
	first, second := newWorld(t, eventstream.Config{Retry: time.Millisecond}, 0), newWorld(t, eventstream.Config{}, 0)
	defer second.close()
	var now atomic.Pointer[world]
	now.Store(first)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.Load().events.ServeHTTP(w, r) }))
	defer front.Close()
	first.account("a")
	second.account("b")
	var got []string
	for e, err := range eventstream.Read(ctx, front.Client(), front.URL, eventstream.ReadOptions{LastEventID: "x"}) {
		require.NoError(t, err)
		got = append(got, string(e.Kind)+" "+e.Reason+e.Account)
		switch e.Account {
		case "a":
			now.Store(second)
			first.close()
		case "b":
			require.Equal(t, []string{
				"missed other_boot", "node_started ", "account_added a", "node_closed ", "end node_closed",
				"missed other_boot", "node_started ", "account_added b",
			}, withoutEnd(got))
			return
		}
	}
}

// withoutEnd has the end of the first stream as a node's that closes before its server does, which is one of two ways.
func withoutEnd(got []string) []string {
	if len(got) > 3 && got[3] == "end server_closing" {
		return append(append(got[:3:3], "node_closed ", "end node_closed"), got[4:]...)
	}
	return got
}

func TestReadRefused(t *testing.T) {
	var answers []http.HandlerFunc
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[0]
		answers = answers[1:]
		mu.Unlock()
		answer(w, r)
	}))
	defer server.Close()
	text := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	busy := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "0")
		problem.New(http.StatusServiceUnavailable, problem.Unavailable, "busy").Write(w)
	}
	read := func(given ...http.HandlerFunc) (events []eventstream.Event, retries []string, last error) {
		answers = given
		opts := eventstream.ReadOptions{MaxDelay: time.Millisecond, Retrying: func(err error,
			_ time.Duration) {
			retries = append(retries, err.Error())
		}}
		for e, err := range eventstream.Read(ctx, server.Client(), server.URL, opts) {
			if err != nil {
				require.NoError(t, last, "an error is the last that comes")
				last = err
				continue
			}
			events = append(events, e)
		}
		return events, retries, last
	}
	const stream = "text/event-stream; charset=utf-8"
	refusal := func(w http.ResponseWriter, _ *http.Request) {
		problem.New(http.StatusForbidden, problem.Forbidden, "not you").Write(w)
	}

	events, retries, err := read(busy, text(502, "text/html", "bad"), text(200, stream, "id: 1\ndata: {\"kind\":\"end\"}\n\n"),
		refusal)
	var p *problem.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, problem.Forbidden, p.Type)
	require.Equal(t, []eventstream.Event{{ID: "1", Kind: eventstream.End}}, events)
	require.Equal(t, []string{
		"Unavailable: busy",
		server.URL + ` answers 502 Bad Gateway with "text/html" instead of a stream of events`, "the stream has ended",
	}, retries)

	_, _, err = read(text(200, "text/html", "<p>"))
	require.ErrorContains(t, err, "instead of a stream of events")
	_, _, err = read(text(200, stream, "data: {\n\n"))
	require.ErrorContains(t, err, "what came is not an event of a node's")
	for _, err := range eventstream.Read(ctx, nil, "::", eventstream.ReadOptions{}) {
		require.ErrorContains(t, err, "missing protocol scheme")
	}
}

// A server that says nothing any more is given up, and a caller who takes his time is not one.
func TestReadSilence(t *testing.T) {
	w := newWorld(t, eventstream.Config{Retry: time.Millisecond, KeepAlive: time.Minute}, 0)
	defer w.close()
	ctx, cancel := context.WithCancelCause(ctx)
	var retries atomic.Int32
	opts := eventstream.ReadOptions{Silence: 500 * time.Millisecond, LastEventID: "x", Retrying: func(err error, _ time.Duration) {
		require.EqualError(t, err, "the server said nothing for 500ms")
		if retries.Add(1) == 3 {
			cancel(errors.New("enough"))
		}
	}}
	var kinds []eventstream.Kind
	for e, err := range eventstream.Read(ctx, w.server.Client(), w.server.URL, opts) {
		if err != nil {
			require.EqualError(t, err, "enough")
			break
		}
		require.Zero(t, retries.Load())
		time.Sleep(time.Second)
		kinds = append(kinds, e.Kind)
	}
	require.Equal(t, []eventstream.Kind{eventstream.Missed, "node_started"}, kinds)
	require.EqualValues(t, 3, retries.Load())
}
