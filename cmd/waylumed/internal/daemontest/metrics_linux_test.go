package daemontest

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// value is that of the one sample of a family in a scrape that has some labels: of a histogram, how many were observed.
func value(t *testing.T, scrape []byte, name string, labels map[string]string) float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(scrape))
	require.NoError(t, err)
	require.Contains(t, families, name)
	for _, m := range families[name].GetMetric() {
		fits := 0
		for _, l := range m.GetLabel() {
			if labels[l.GetName()] == l.GetValue() {
				fits++
			}
		}
		if fits == len(labels) {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	require.Failf(t, "no sample", "%s %v: %v", name, labels, families[name])
	return 0
}

// TestMetrics scrapes a daemon: what it says is of the form, and about what was done. Profiles are there if they are asked for.
func TestMetrics(t *testing.T) {
	admin := loopback(t)
	s := newSite(t, settings{"admin.listen": admin})
	d := s.start(t)
	client := s.unix()
	const n = 3
	for range n {
		made := must[api.CreatedPeer](t, client, http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{})
		must[api.Peer](t, client, http.StatusOK, http.MethodGet, onSocket+peers+"/"+made.ID, nil)
	}
	scrape := get(t, "http://"+admin+"/metrics")
	require.InDelta(t, n, value(t, scrape, "waylume_peers", map[string]string{"state": "active"}), 0)
	require.InDelta(t, n, value(t, scrape, "waylume_http_request_duration_seconds",
		map[string]string{"route": "/api/v1/peers", "method": "POST"}), 0)
	require.InDelta(t, n, value(t, scrape, "waylume_http_request_duration_seconds",
		map[string]string{"route": "/api/v1/peers/{id}", "method": "GET"}), 0)
	require.InDelta(t, n, value(t, scrape, "waylume_http_requests_total",
		map[string]string{"route": "/api/v1/peers", "method": "POST", "status": "2xx"}), 0)

	r, err := ask(&http.Client{}, http.MethodGet, "http://"+admin+"/debug/pprof/heap", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, r.status)
	d.stop(t)
	s.set(t, settings{"admin.pprof": true})
	d = s.start(t)
	require.NotEmpty(t, get(t, "http://"+admin+"/debug/pprof/heap"))
	d.stop(t)
}

// TestEvents reads events over connections that break, and over a restart: each once, in order, and what cannot be told is said.
func TestEvents(t *testing.T) {
	s := newSite(t, nil)
	d := s.start(t)
	client := s.unix()
	streaming := s.unix()
	streaming.Timeout = 0
	const url = onSocket + "/api/v1/events?kind=peer_added"
	create := func(n int) (keys []string) {
		for range n {
			keys = append(keys, must[api.CreatedPeer](t, client, http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{}).PublicKey.String())
		}
		return keys
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	read := func(after string, n int) (events []eventstream.Event) {
		for e, err := range eventstream.Read(ctx, streaming, url, eventstream.ReadOptions{LastEventID: after, MaxDelay: 100 * time.Millisecond}) {
			require.NoError(t, err)
			if events = append(events, e); len(events) == n {
				return events
			}
		}
		return events
	}
	first := create(1)[0]
	must[api.PeerList](t, client, http.StatusOK, http.MethodGet, onSocket+peers, nil)
	// From the beginning of this boot, whose name the first answer tells.
	began := read("0-0", 2)
	require.Equal(t, eventstream.Missed, began[0].Kind, "of a boot that nobody knows")
	require.Equal(t, first, began[1].Peer)
	keys := create(6)
	at := began[1].ID
	for i := 0; i < len(keys); i += 2 { // a connection for each two
		for j, e := range read(at, 2) {
			require.Equal(t, keys[i+j], e.Peer)
			at = e.ID
		}
	}

	// The stream goes on by itself while the daemon is killed and started.
	got := make(chan []eventstream.Event, 1)
	go func() {
		var events []eventstream.Event
		for e, err := range eventstream.Read(ctx, streaming, url, eventstream.ReadOptions{LastEventID: at, MaxDelay: 100 * time.Millisecond}) {
			if err != nil {
				break
			}
			if events = append(events, e); e.Kind != eventstream.Missed && len(events) > 1 {
				break
			}
		}
		got <- events
	}()
	d.kill()
	d = s.start(t)
	added := create(1)
	events := <-got
	require.Len(t, events, 2)
	require.Equal(t, eventstream.Missed, events[0].Kind)
	require.Equal(t, "other_boot", events[0].Reason)
	require.Equal(t, added[0], events[1].Peer)
	d.stop(t)
}
