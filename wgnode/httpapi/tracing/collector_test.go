package tracing_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	traceservice "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/waylume/waylume/internal/testutil/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m, "-test.parallel=1")) }

// collector takes traces over OTLP/HTTP.
type collector struct {
	URL string

	mu    sync.Mutex
	paths []string
	keys  []string // the header Authorization of each
	spans []*spans.Span
	raw   []byte
	fault error
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, c.fault = gzip.NewReader(r.Body); c.fault != nil {
			return
		}
	}
	raw, err := io.ReadAll(body)
	request := new(traceservice.ExportTraceServiceRequest)
	if err == nil {
		err = proto.Unmarshal(raw, request)
	}
	if err != nil {
		c.fault = err
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.paths = append(c.paths, r.Method+" "+r.URL.Path)
	c.keys = append(c.keys, r.Header.Get("Authorization"))
	c.raw = append(c.raw, raw...)
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// trees are the traces that came, each span in a line below that which it is a part of, in the order in which they began.
func (c *collector) trees(t *testing.T) []string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.NoError(t, c.fault)
	below := make(map[string][]*spans.Span)
	own := make(map[string]bool)
	for _, s := range c.spans {
		own[string(s.GetSpanId())] = true
	}
	for _, s := range c.spans {
		parent := string(s.GetParentSpanId())
		if !own[parent] {
			parent = ""
		}
		below[parent] = append(below[parent], s)
	}
	var write func(b *strings.Builder, s *spans.Span, indent string)
	write = func(b *strings.Builder, s *spans.Span, indent string) {
		b.WriteString(indent + s.GetName())
		if s.GetStatus().GetCode() == spans.Status_STATUS_CODE_ERROR {
			b.WriteString(" failed")
		}
		b.WriteString("\n")
		inner := below[string(s.GetSpanId())]
		slices.SortStableFunc(inner, func(x, y *spans.Span) int {
			return int(int64(x.GetStartTimeUnixNano()) - int64(y.GetStartTimeUnixNano()))
		})
		for _, s := range inner {
			write(b, s, indent+"  ")
		}
	}
	var trees []string
	for _, s := range below[""] {
		var b strings.Builder
		write(&b, s, "")
		trees = append(trees, b.String())
	}
	return trees
}

// span returns the one with a name.
func (c *collector) span(t *testing.T, name string) *spans.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.spans, func(s *spans.Span) bool { return s.GetName() == name })
	require.GreaterOrEqual(t, i, 0, "no span %q", name)
	return c.spans[i]
}

// attributes are those of a span, as text.
func attributes(s *spans.Span) map[string]string {
	all := make(map[string]string)
	for _, a := range s.GetAttributes() {
		value := a.GetValue()
		all[a.GetKey()] = value.GetStringValue()
		if all[a.GetKey()] == "" {
			all[a.GetKey()] = value.String()
		}
	}
	return all
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
