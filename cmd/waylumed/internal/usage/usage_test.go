package usage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/usagelog"
)

var midnight = time.Date(2026, time.November, 20, 0, 0, 0, 0, time.UTC)

// written is a log of two days, of an account and a peer that was given another key.
func written(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "usage")
	log, err := usagelog.Open(dir, usagelog.Options{NoSync: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close()) }()
	family := usagelog.Subject{Kind: usagelog.Account, Name: "family", Sequence: 1}
	before := usagelog.Subject{Kind: usagelog.Peer, Name: "before=", Sequence: 2}
	after := usagelog.Subject{Kind: usagelog.Peer, Name: "after=", Sequence: 2}
	for i := range uint64(49) {
		readings := []usagelog.Reading{{Subject: family, Counters: usagelog.Counters{Download: 1_000_000 * i}}}
		if i < 30 {
			readings = append(readings, usagelog.Reading{Subject: before, Counters: usagelog.Counters{Upload: i}})
		}
		if i >= 29 {
			readings = append(readings, usagelog.Reading{Subject: after, Counters: usagelog.Counters{Upload: 7 * (i - 29)}})
		}
		require.NoError(t, log.Append(t.Context(), midnight.Add(time.Duration(i)*time.Hour), readings))
	}
	return dir
}

func ask(t *testing.T, q Query) *Report {
	t.Helper()
	r, err := Ask(t.Context(), q)
	require.NoError(t, err)
	return r
}

func TestDays(t *testing.T) {
	r := ask(t, Query{Dir: written(t), From: midnight, To: midnight.Add(72 * time.Hour), By: 24 * time.Hour})
	var out strings.Builder
	require.NoError(t, r.Write(console.New(&out, nil)))
	require.Equal(t, `Usage  2026-11-20T00:00:00Z to 2026-11-23T00:00:00Z
What is known is of 2026-11-20T00:00:00Z to 2026-11-22T00:00:00Z.
╭──────────────────────┬─────────┬─────────┬────────┬────────────┬──────────╮
│ From                 │         │ Name    │ Number │ Downloaded │ Uploaded │
├──────────────────────┼─────────┼─────────┼────────┼────────────┼──────────┤
│ 2026-11-20T00:00:00Z │ peer    │ before= │      2 │          0 │       24 │
│                      │ account │ family  │      1 │ 24,000,000 │        0 │
│ 2026-11-21T00:00:00Z │ peer    │ after=  │      2 │          0 │      133 │
│                      │ peer    │ before= │      2 │          0 │        5 │
│                      │ account │ family  │      1 │ 24,000,000 │        0 │
╰──────────────────────┴─────────┴─────────┴────────┴────────────┴──────────╯
`, out.String())
}

// The hours of a peer, in a zone of its own, are those under both keys.
func TestHoursOfAPeer(t *testing.T) {
	from := time.Date(2026, time.November, 21, 5, 0, 0, 0, time.FixedZone("", 3600))
	hour := func(i int) time.Time { return from.Add(time.Duration(i) * time.Hour) }
	for _, name := range []string{"before=", "after="} {
		r := ask(t, Query{Dir: written(t), Peer: name, From: from, To: hour(2), By: time.Hour})
		require.Equal(t, []Step{
			{from, hour(1), &Span{from.UTC(), hour(1).UTC()}, []Usage{{"peer", "before=", 2, 0, 1}}},
			{hour(1), hour(2), &Span{hour(1).UTC(), hour(2).UTC()}, []Usage{{"peer", "after=", 2, 0, 7}}},
		}, r.Steps, name)
	}
}

// The names of the JSON form stay under Schema: a change to this text needs another one.
func TestSchema(t *testing.T) {
	r := ask(t, Query{Dir: written(t), Account: "family", From: midnight, To: midnight.Add(time.Hour)})
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"schema": "waylume.usage/1", "from": "2026-11-20T00:00:00Z", "to": "2026-11-20T01:00:00Z",
		"covers": {"from": "2026-11-20T00:00:00Z", "to": "2026-11-20T01:00:00Z"}, "damage": [], "steps": [{
			"from": "2026-11-20T00:00:00Z", "to": "2026-11-20T01:00:00Z",
			"covers": {"from": "2026-11-20T00:00:00Z", "to": "2026-11-20T01:00:00Z"},
			"usages": [{"kind": "account", "name": "family", "sequence": 1, "download_bytes": 1000000, "upload_bytes": 0}]}]}`, string(text))
}

func TestNothingKnownAndDamage(t *testing.T) {
	dir := written(t)
	r := ask(t, Query{Dir: dir, Account: "nobody", From: midnight.AddDate(-1, 0, 0), To: midnight.AddDate(0, -1, 0)})
	require.Nil(t, r.Covers)
	require.Empty(t, r.Steps[0].Usages)
	var out strings.Builder
	require.NoError(t, r.Write(console.New(&out, nil)))
	require.Contains(t, out.String(), "The log knows nothing of that time.\n")

	segments, err := filepath.Glob(filepath.Join(dir, "*.usage"))
	require.NoError(t, err)
	data, err := os.ReadFile(segments[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(segments[0], data, 0o600))
	r = ask(t, Query{Dir: dir, From: midnight, To: midnight.AddDate(0, 0, 1)})
	require.Len(t, r.Damage, 1)
	require.NoError(t, r.Write(console.New(&out, nil)))
	require.Contains(t, out.String(), "The log is damaged, and what is missing counts later: "+filepath.Base(segments[0]))

	_, err = Ask(t.Context(), Query{Dir: filepath.Join(dir, "none"), From: midnight, To: midnight.Add(1)})
	require.ErrorContains(t, err, "There is no usage log")
	_, err = Ask(t.Context(), Query{Dir: dir, From: midnight, To: midnight.AddDate(50, 0, 0), By: time.Hour})
	require.ErrorIs(t, err, usagelog.ErrInvalid)
}

func TestGrouped(t *testing.T) {
	require.Equal(t, "0", grouped(0))
	require.Equal(t, "999", grouped(999))
	require.Equal(t, "18,446,744,073,709,551,615", grouped(1<<64-1))
}
