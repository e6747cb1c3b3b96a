package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// writeLog makes a log in which n accounts and a peer use 1,000 bytes each in each of two hours.
func writeLog(t *testing.T, log *usagelog.Log, from time.Time, peer api.Key, n int) {
	t.Helper()
	for hour := range 3 {
		readings := []usagelog.Reading{{
			Subject:  usagelog.Subject{Kind: usagelog.Peer, Name: peer.String(), Sequence: 1},
			Counters: usagelog.Counters{Download: uint64(hour) * 1000, Upload: uint64(hour) * 10},
		}}
		for i := range n {
			readings = append(readings, usagelog.Reading{
				Subject:  usagelog.Subject{Kind: usagelog.Account, Name: fmt.Sprintf("a%02d", i), Sequence: uint64(i + 2)},
				Counters: usagelog.Counters{Download: uint64(hour) * 1000},
			})
		}
		require.NoError(t, log.Append(t.Context(), from.Add(time.Duration(hour)*time.Hour), readings))
	}
}

func TestUsageReport(t *testing.T) {
	log, err := usagelog.Open(t.TempDir(), usagelog.Options{})
	require.NoError(t, err)
	from := time.Now().Add(-24 * time.Hour).Truncate(time.Hour).UTC()
	peer := api.Key(newKey(t))
	writeLog(t, log, from, peer, 25)
	w := newWorld(t, func(c *wgnode.Config, _ *httpapi.Config) {
		require.NoError(t, c.UsageLog.Close())
		c.UsageLog = log
	})
	query := func(more ...string) string {
		q := url.Values{"from": {from.Format(time.RFC3339)}, "to": {from.Add(2 * time.Hour).Format(time.RFC3339)}}
		for i := 0; i < len(more); i += 2 {
			q.Set(more[i], more[i+1])
		}
		return "/api/v1/usage?" + q.Encode()
	}

	all := decoded[api.UsageReport](w.do(http.MethodGet, query(), "").is(http.StatusOK))
	require.Len(t, all.Usages, 26)
	require.Empty(t, all.Next)
	require.True(t, all.Span.From.Equal(from))
	require.Equal(t, peer, all.Usages[0].Peer)
	require.EqualValues(t, 2000, all.Usages[0].Download)
	require.Equal(t, "a24", all.Usages[25].Account)

	var paged []api.SpentUsage
	for cursor := ""; ; {
		part := decoded[api.UsageReport](w.do(http.MethodGet, query("limit", "7", "cursor", cursor), "").is(http.StatusOK))
		paged = append(paged, part.Usages...)
		if cursor = part.Next; cursor == "" {
			break
		}
	}
	require.Equal(t, all.Usages, paged)

	one := decoded[api.UsageReport](w.do(http.MethodGet, query("peer", peer.ID()), "").is(http.StatusOK))
	require.Equal(t, all.Usages[:1], one.Usages)
	series := decoded[api.UsageReport](w.do(http.MethodGet, query("peer", peer.ID(), "step", "1h"), "").is(http.StatusOK))
	require.Len(t, series.Steps, 2)
	require.EqualValues(t, 1000, series.Steps[1].Download)
	require.EqualValues(t, 10, series.Steps[0].Upload)
	series = decoded[api.UsageReport](w.do(http.MethodGet, query("account", "a03", "step", "30m"), "").is(http.StatusOK))
	require.Len(t, series.Steps, 4)
	require.True(t, series.Span.To.Equal(from.Add(2*time.Hour)))

	w.do(http.MethodGet, "/api/v1/usage", "").faulty("query.from", "query.to")
	w.do(http.MethodGet, query("to", "yesterday", "peer", "x", "step", "1d", "limit", "0"), "").
		faulty("query.to", "query.peer", "query.step", "query.limit")
	w.do(http.MethodGet, query("to", "2001-01-01T00:00:00Z", "account", "a", "peer", peer.ID(), "step", "1s"), "").
		faulty("query.to", "query.account", "query.step")
	w.do(http.MethodGet, query("step", "1h"), "").faulty("query.step")
	w.do(http.MethodGet, query("to", "2099-01-01T00:00:00Z", "step", "1h", "account", "a"), "").faulty("query.step")
	w.do(http.MethodGet, query("cursor", "abc"), "").faulty("query.cursor")
}

func TestNoUsageLog(t *testing.T) {
	w := newWorld(t, func(c *wgnode.Config, _ *httpapi.Config) { c.UsageLog = nil })
	const span = "/api/v1/usage?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
	w.do(http.MethodGet, span, "").refused(http.StatusNotImplemented, httpapi.NoUsageLog)
	w.do(http.MethodGet, span+"&account=a&step=1h", "").refused(http.StatusNotImplemented, httpapi.NoUsageLog)
}
