package eventstream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

const soon = 20 * time.Second // for what comes at once

// world is a node whose events an HTTP server streams, which allows requests and answers little time.
type world struct {
	t      require.TestingT
	node   *wgnode.Node
	events *eventstream.Handler
	server *httptest.Server
}

func newWorld(t require.TestingT, cfg eventstream.Config, buffer int) *world {
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane(), EventBuffer: buffer})
	require.NoError(t, err)
	require.NoError(t, node.Start(ctx))
	cfg.Node = node
	events, err := eventstream.New(cfg)
	require.NoError(t, err)
	w := &world{t: t, node: node, events: events, server: httptest.NewUnstartedServer(events)}
	w.server.Config.ReadTimeout, w.server.Config.WriteTimeout = time.Second, time.Second
	w.server.Config.RegisterOnShutdown(events.Close)
	w.server.Start()
	return w
}

func (w *world) close() {
	w.events.Close()
	w.server.Client().CloseIdleConnections()
	w.server.Close()
	require.NoError(w.t, w.node.Close())
}

// account makes an account: one event.
func (w *world) account(id string) {
	_, err := w.node.PutAccount(ctx, wgnode.AccountSpec{ID: id})
	require.NoError(w.t, err)
}

// raw is a stream as it comes.
type raw struct {
	t    require.TestingT
	res  *http.Response
	from *bufio.Reader
	stop context.CancelFunc
}

func (w *world) open(query, lastID string) *raw {
	ctx, cancel := context.WithTimeout(ctx, soon)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+"/events?"+query, http.NoBody)
	require.NoError(w.t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := w.server.Client().Do(req) //nolint:bodyclose // raw.close does
	require.NoError(w.t, err)
	return &raw{t: w.t, res: res, from: bufio.NewReader(res.Body), stop: cancel}
}

func (r *raw) close() {
	r.stop()
	r.res.Body.Close()
}

// block is the next block of lines.
func (r *raw) block() []string {
	var lines []string
	for {
		line, err := r.from.ReadString('\n')
		require.NoError(r.t, err)
		if line == "\n" {
			return lines
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

// event is the next event with its id; keep-alives are passed over.
func (r *raw) event() eventstream.Event {
	for {
		var e eventstream.Event
		for _, line := range r.block() {
			name, value, _ := strings.Cut(line, ": ")
			switch name {
			case "id":
				e.ID = value
			case "data":
				require.NoError(r.t, json.Unmarshal([]byte(value), &e))
			}
		}
		if e.Kind != "" {
			return e
		}
	}
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("account-%d", i)
	}
	return all
}
