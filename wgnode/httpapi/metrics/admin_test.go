package metrics_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

func admin(t *testing.T, opts metrics.AdminOptions) *httptest.Server {
	t.Helper()
	handler, err := metrics.AdminHandler(opts)
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, client *http.Client, url, accept string) (status int, kind, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, answer.Header.Get("Content-Type"), string(b)
}

func TestAdminHandler(t *testing.T) {
	node, _ := start(t)
	var keys []string
	for range 3 {
		p, err := node.AddPeer(t.Context(), wgnode.PeerSpec{})
		require.NoError(t, err)
		keys = append(keys, p.PublicKey.String())
	}
	store := metrics.MeasureStore(wgnode.NewMemoryStore())
	registry, err := metrics.NewRegistry(collector(t, node, metrics.Options{}), metrics.NewHTTP(metrics.HTTPOptions{}), store)
	require.NoError(t, err)
	server := admin(t, metrics.AdminOptions{
		Gatherer: registry, Node: node, Options: metrics.Options{Redaction: "off", MaxPeers: 2},
	})

	status, kind, body := get(t, server.Client(), server.URL+"/metrics", "")
	require.Equal(t, http.StatusOK, status)
	require.True(t, strings.HasPrefix(kind, "text/plain"), kind)
	for _, line := range []string{`waylume_peers{state="active"} 3`, "go_goroutines ", "process_resident_memory_bytes ", "waylume_store_mutations_total 0"} {
		require.Contains(t, body, line)
	}
	require.NotContains(t, body, "waylume_peer_up")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		require.False(t, strings.HasPrefix(p.Metric, "waylume_"), "%s: %s", p.Metric, p.Text)
	}
	_, kind, body = get(t, server.Client(), server.URL+"/metrics", "application/openmetrics-text; version=1.0.0")
	require.True(t, strings.HasPrefix(kind, "application/openmetrics-text"), kind)
	require.True(t, strings.HasSuffix(body, "# EOF\n"))

	_, _, body = get(t, server.Client(), server.URL+"/metrics/peers", "")
	require.Contains(t, body, "waylume_peers_left_out 1\n")
	require.Contains(t, body, `waylume_peer_up{peer="`+keys[1]+`"} 0`)
	require.NotContains(t, body, keys[2])
	_, _, body = get(t, server.Client(), server.URL+"/metrics/peers?limit=1", "")
	require.NotContains(t, body, keys[1])
	for _, limit := range []string{"0", "3", "-1", "all", "99999999999999999999"} {
		status, kind, body = get(t, server.Client(), server.URL+"/metrics/peers?limit="+limit, "")
		require.Equal(t, http.StatusUnprocessableEntity, status)
		require.Equal(t, "application/problem+json", kind)
		require.Contains(t, body, "1 to 2")
	}

	for path, want := range map[string]int{
		"/": 404, "/debug/pprof/": 404, "/debug/vars": 404, "/metrics/": 404, "/metrics/../debug/pprof/heap": 404,
	} {
		status, _, _ = get(t, server.Client(), server.URL+path, "")
		require.Equal(t, want, status, path)
	}
	require.Equal(t, http.StatusMethodNotAllowed, do(t, server.Client(), "POST", server.URL+"/metrics", ""))
}

func TestAdminProfiling(t *testing.T) {
	server := admin(t, metrics.AdminOptions{Gatherer: prometheus.NewRegistry(), Profiling: true})
	status, _, body := get(t, server.Client(), server.URL+"/debug/pprof/", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "goroutine")
	status, _, body = get(t, server.Client(), server.URL+"/debug/pprof/heap?debug=1", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "heap profile:")
	status, _, _ = get(t, server.Client(), server.URL+"/debug/pprof/cmdline", "")
	require.Equal(t, http.StatusNotFound, status, "a command line is nobody's business")
	status, _, _ = get(t, server.Client(), server.URL+"/metrics/peers", "")
	require.Equal(t, http.StatusNotFound, status, "without a node")
}

// broken cannot be gathered whole.
type broken struct{ desc *prometheus.Desc }

func (b broken) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc }
func (b broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(b.desc, errDisk)
}

func TestAdminTellsWhatItCan(t *testing.T) {
	registry, err := metrics.NewRegistry(broken{prometheus.NewDesc("broken", "Is.", nil, nil)})
	require.NoError(t, err)
	var log bytes.Buffer
	server := admin(t, metrics.AdminOptions{Gatherer: registry, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	status, _, body := get(t, server.Client(), server.URL+"/metrics", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "go_goroutines")
	server.Close()
	require.Contains(t, log.String(), errDisk.Error())
}

func TestAdminOptions(t *testing.T) {
	_, err := metrics.AdminHandler(metrics.AdminOptions{})
	require.ErrorContains(t, err, "NewRegistry")
	_, err = metrics.AdminHandler(metrics.AdminOptions{Gatherer: prometheus.NewRegistry(), Options: metrics.Options{Redaction: "x"}})
	require.ErrorContains(t, err, "Redaction")
	_, err = metrics.NewRegistry(metrics.NewCertificate(nil), metrics.NewCertificate(nil))
	require.Error(t, err)
}

// Every family is one that promlint has nothing against, and that is told of somewhere.
func TestFamilies(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range metrics.Families() {
		require.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
		text := "# HELP " + f.Name + " " + f.Help + "\n# TYPE " + f.Name + " " + string(f.Type) + "\n"
		if f.Type == metrics.Histogram {
			text += f.Name + "_bucket{le=\"+Inf\"} 1\n" + f.Name + "_sum 1\n" + f.Name + "_count 1\n"
		} else {
			text += f.Name + " 1\n"
		}
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		require.NoError(t, err, f.Name)
		require.Empty(t, problems, f.Name)
	}
}

// slow is a node that answers when it is let.
type slow struct {
	metrics.Node
	asked, let chan struct{}
}

func (s slow) PeerQualities() ([]wgnode.PeerQuality, error) {
	s.asked <- struct{}{}
	<-s.let
	return s.Node.PeerQualities()
}

func TestAdminBoundsScrapes(t *testing.T) {
	node, _ := start(t)
	s := slow{node, make(chan struct{}), make(chan struct{})}
	server := admin(t, metrics.AdminOptions{Gatherer: prometheus.NewRegistry(), Node: s})
	const most = 8
	statuses := make(chan int, most)
	for range most {
		go func() {
			answer, err := server.Client().Get(server.URL + "/metrics/peers")
			if err != nil {
				statuses <- 0
				return
			}
			answer.Body.Close()
			statuses <- answer.StatusCode
		}()
		<-s.asked
	}
	status, _, _ := get(t, server.Client(), server.URL+"/metrics/peers", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	close(s.let)
	for range most {
		require.Equal(t, http.StatusOK, <-statuses)
	}
}
