package privacy_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/privacy"
	"github.com/waylume/waylume/wgnode/redact"
)

var update = flag.Bool("update", false, "write the table into docs/privacy.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

// defaults are a daemon's with a state file, a usage log and an audit log.
func defaults() privacy.Settings {
	return privacy.Settings{
		DurableState: true, Quarantine: ipam.DefaultQuarantine,
		UsageLogPeriod: wgnode.DefaultUsageLogPeriod, UsageRetention: usagelog.DefaultRetention,
		AuditRetention: audit.DefaultRetention, AuditSegmentAge: audit.DefaultSegmentAge,
		AuditSources: redact.Partial.String(), LogRedaction: redact.Strict.String(),
		Idempotency: day, EventBuffer: wgnode.DefaultEventBuffer,
	}
}

func find(t *testing.T, r privacy.Report, data string) privacy.Item {
	t.Helper()
	for _, i := range r.Items {
		if strings.HasPrefix(i.Data, data) {
			return i
		}
	}
	require.Fail(t, "no item", data)
	return privacy.Item{}
}

// TestDocs holds docs/privacy.md to what the code says.
func TestDocs(t *testing.T) {
	const begin, end = "<!-- begin: made from wgnode/httpapi/privacy -->\n", "<!-- end -->\n"
	path := filepath.Join("..", "..", "..", "docs", "privacy.md")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(data), begin)
	require.True(t, found)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := "\n" + privacy.Make(defaults()).Markdown() + "\n"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+want+end+after), 0o600))
		return
	}
	require.Equal(t, want, table, "run: go test ./wgnode/httpapi/privacy -update")
}

func TestHandler(t *testing.T) {
	s := defaults()
	h := privacy.Handler(func() privacy.Settings { return s })
	get := func() (r privacy.Report) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/privacy", http.NoBody))
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &r))
		require.Equal(t, privacy.Make(s), r)
		return r
	}
	i := find(t, get(), "Bytes used by each peer")
	require.Equal(t, "90 days, and up to 3 days more until its file is deleted", i.Kept)
	require.EqualValues(t, 93*24*3600, i.Seconds)
	require.Equal(t, "usage log, a reading every 15 minutes", i.Where)
	require.Equal(t, privacy.Never, find(t, get(), "Contents of traffic").Kept)
	i = find(t, get(), "Private keys of peers")
	require.Equal(t, "1 day", i.Kept)
	require.Contains(t, i.Where, "sealed with the client's key")
	s.Idempotency = 0
	require.Equal(t, privacy.Never, find(t, get(), "Private keys of peers").Kept)

	s.UsageRetention, s.AuditSources, s.PeerMetrics, s.Registry, s.Traces, s.DurableState = 0, "off", true, true, true, false
	s.RegistryUsage = true
	r := get()
	i = find(t, r, "Bytes used by each peer")
	require.Equal(t, privacy.Never, i.Kept)
	require.Equal(t, "nowhere", i.Where)
	require.Zero(t, i.Seconds)
	require.Contains(t, find(t, r, "Changes").Data, "the whole address")
	require.Equal(t, "memory", find(t, r, "Accounts").Where)
	for _, more := range []string{"Metrics of each peer", "The node's name", "What each peer used", "Traces"} {
		find(t, r, more)
	}
}

// TestAuditRetentionHolds has a log live for two months: what the report says is the longest, is.
func TestAuditRetentionHolds(t *testing.T) {
	s := defaults()
	s.AuditRetention, s.AuditSegmentAge = 7*day, 6*time.Hour
	most := time.Duration(find(t, privacy.Make(s), "Changes").Seconds) * time.Second
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := audit.Open(dir, audit.Options{Retention: s.AuditRetention, SegmentAge: s.AuditSegmentAge})
		require.NoError(t, err)
		for range 60 {
			require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "reload"}))
			time.Sleep(day)
			synctest.Wait()
			require.NoError(t, audit.Read(dir, func(r audit.Record) error {
				require.LessOrEqual(t, time.Since(r.Time), most)
				return nil
			}))
		}
		require.NoError(t, l.Close())
	})
}

// TestUsageRetentionHolds does the same with the usage log: what is older than the longest time is not known any more.
func TestUsageRetentionHolds(t *testing.T) {
	s := defaults()
	s.UsageRetention = 7 * day
	most := time.Duration(find(t, privacy.Make(s), "Bytes used by each peer").Seconds) * time.Second
	l, err := usagelog.Open(t.TempDir(), usagelog.Options{NoSync: true, Retention: s.UsageRetention})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for hour := range uint64(40 * 24) {
		at = at.Add(time.Hour)
		require.NoError(t, l.Append(t.Context(), at, []usagelog.Reading{{
			Subject:  usagelog.Subject{Kind: usagelog.Account, Name: "family", Sequence: 1},
			Counters: usagelog.Counters{Download: hour + 1},
		}}))
		old, err := l.Usage(t.Context(), time.Time{}, at.Add(-most), nil)
		require.NoError(t, err)
		require.Empty(t, old.Usages, "%v", at)
	}
	kept, err := l.Usage(t.Context(), at.Add(-s.UsageRetention), at, nil)
	require.NoError(t, err)
	require.EqualValues(t, 7*24, kept.Usages[0].Counters.Download)
}
