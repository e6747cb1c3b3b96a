package sessiontest

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The life of a customer: a client gets its configuration, downloads at the speed of its plan, is upgraded while it is connected, and
// is cut off when its plan is used up, to the byte; the next plan lets it go on.
func TestPlan(t *testing.T) {
	online(t)
	r := newRig(t)
	n := r.node("fra-1", place{})
	now := time.Now()
	r.stripe(subscription("evt_1", "created", "ada", "price_basic", "active", now.Add(-time.Minute)))
	ada := r.user("ada").device("8f14e45f-ceea-467f-9b5a-2d1d0f2c7a01")
	c := ada.connect()
	require.Equal(t, "fra-1", c.Server.Name)
	require.Len(t, n.peers(), 1)
	peer := n.peers()[0]
	require.Equal(t, map[string]string{"waylume.session": c.Session, "waylume.generation": "1"}, peer.Labels)
	require.Equal(t, c.Addresses, peer.Addresses)
	require.EqualValues(t, 8_000_000, peer.SpeedLimit.Download)
	require.EqualValues(t, 20_000_000, peer.DataCap.Bytes)

	tunnel := ada.up(c)
	const slow = 8.0 // Mbit/s of the plan
	got, took := ada.download(tunnel, 3_000_000, patience)
	require.Equal(t, 3_000_000, got/1_000_000*1_000_000)
	require.Less(t, mbits(got, took), 2*slow)
	require.Greater(t, mbits(got, took), slow/4)
	basic := mbits(got, took)

	// The upgrade is in force when Stripe has its answer.
	require.Equal(t, 1, r.stripe(subscription("evt_2", "updated", "ada", "price_pro", "active", now)).Told)
	peer = n.peers()[0]
	require.EqualValues(t, 80_000_000, peer.SpeedLimit.Download)
	require.EqualValues(t, 1<<60, peer.DataCap.Bytes, "no cap, but a count")
	got, took = ada.download(tunnel, 8_000_000, patience)
	require.Greater(t, mbits(got, took), 2*basic)
	require.False(t, r.stripe(subscription("evt_2", "updated", "ada", "price_pro", "active", now)).Handled, "the same event twice")

	// Back to a plan with a cap, which counts what was used before. The node cuts off by itself.
	used := n.report(ada.key())
	require.Equal(t, used, value[int64](r, "select used from vpn_allowance('ada')"))
	r.exec("update plans set cap = $1 where id = 'tiny'", used+2_000_000)
	require.Equal(t, 1, r.stripe(subscription("evt_3", "updated", "ada", "price_tiny", "active", now.Add(time.Second))).Told)
	got, _ = ada.download(tunnel, 100_000_000, 10*time.Second)
	require.Less(t, got, 2_000_000, "headers count, too")
	require.Greater(t, got, 1_000_000)
	blocked := n.usage(ada.key())
	require.EqualValues(t, used+2_000_000, blocked.Limit)
	require.LessOrEqual(t, blocked.Used, blocked.Limit, "not one byte passes beyond")
	require.Less(t, uint64(blocked.Limit-blocked.Used), uint64(c.MTU), "what is left had no room for the next packet")
	require.True(t, blocked.Depleted)
	got, _ = ada.download(tunnel, 1, time.Second)
	require.Zero(t, got)
	require.Equal(t, blocked.Used, n.usage(ada.key()).Used, "what is refused does not count")

	n.report(ada.key())
	require.EqualValues(t, blocked.Used, value[int64](r, "select used from vpn_allowance('ada')"))
	r.refused(ada.ask(), http.StatusForbidden, "used-up")

	require.Equal(t, 1, r.stripe(subscription("evt_4", "updated", "ada", "price_pro", "active", now.Add(2*time.Second))).Told)
	got, _ = ada.download(tunnel, 2_000_000, patience)
	require.GreaterOrEqual(t, got, 2_000_000)

	// The end of the subscription is that of the session.
	require.Equal(t, 1, r.stripe(subscription("evt_5", "deleted", "ada", "price_pro", "canceled", now.Add(3*time.Second))).Ended)
	require.Empty(t, n.peers())
	r.refused(ada.ask(), http.StatusForbidden, "no-plan")
}

// What a user uses in one session is not left for another: a report of one node changes the cap on the other.
func TestCapOfTwoSessions(t *testing.T) {
	r := newRig(t)
	n := r.node("fra-1", place{})
	bob := r.subscribed("bob", "tiny") // 2 MB, two sessions
	one, other := bob.device("session-one"), bob.device("session-other")
	one.connect()
	other.connect()
	r.refused(bob.device("session-third").ask(), http.StatusConflict, "too-many-sessions")
	bytes := func(d *device) uint64 {
		for _, p := range n.peers() {
			if p.PublicKey == d.key() {
				return uint64(p.DataCap.Bytes)
			}
		}
		require.Fail(t, "no peer")
		return 0
	}
	require.EqualValues(t, 2_000_000, bytes(one))
	r.reportUsage(n, 1, one.key(), 1_000_000, 500_000)
	require.EqualValues(t, 2_000_000, bytes(one), "its own counter has that already")
	require.EqualValues(t, 500_000, bytes(other))
	r.reportUsage(n, 1, one.key(), 1_000_000, 500_000) // the answer was lost
	require.EqualValues(t, 500_000, bytes(other))
	r.reportUsage(n, 2, other.key(), 500_000, 0)
	require.EqualValues(t, 1_500_000, bytes(one))
	require.EqualValues(t, 500_000, bytes(other))
	r.refused(one.ask(), http.StatusForbidden, "used-up")
	// Beyond what is left, nothing passes: a cap of nothing would be none.
	r.reportUsage(n, 3, other.key(), 1_000_000, 0)
	require.EqualValues(t, 500_000, bytes(one))

	// A new month begins: all is left again, beside what the counters have.
	r.exec("update vpn_period_usage set period_start = period_start - interval '1 month'")
	require.Equal(t, 2, r.cleanup().Told)
	require.EqualValues(t, 2_000_000+1_500_000, bytes(one))
	require.EqualValues(t, 2_000_000+1_500_000, bytes(other))
	require.Zero(t, r.cleanup().Told)
	one.connect()
}

// Months are counted from the day of the subscription; one that lacks it begins on its last day.
func TestMonths(t *testing.T) {
	r := newRig(t)
	for _, c := range [][3]string{ // anchor, time, beginning of the month
		{"2026-01-15T10:00:00Z", "2026-01-15T10:00:00Z", "2026-01-15T10:00:00Z"},
		{"2026-01-15T10:00:00Z", "2026-02-15T09:59:59Z", "2026-01-15T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "2026-03-30T10:00:00Z", "2026-02-28T10:00:00Z"},
		{"2026-01-31T10:00:00Z", "2026-03-31T10:00:00Z", "2026-03-31T10:00:00Z"},
		{"2025-12-31T23:00:00Z", "2028-02-29T23:00:00Z", "2028-02-29T23:00:00Z"},
		{"2026-05-20T00:00:00Z", "2026-05-01T00:00:00Z", "2026-04-20T00:00:00Z"},
		{"", "2026-11-30T23:59:59Z", "2026-11-01T00:00:00Z"},
	} {
		got := value[time.Time](r, "select vpn_month(nullif($1, '')::timestamptz, $2::timestamptz)", c[0], c[1])
		require.Equal(t, c[2], got.UTC().Format(time.RFC3339), "%v", c)
	}

	// Months that begin anew in the middle of one take what was used since along, once.
	n := r.node("fra-1", place{})
	ada := r.subscribed("ada", "basic").device("session-one")
	ada.connect()
	r.reportUsage(n, 1, ada.key(), 1_000, 500)
	r.exec("update subscriptions set period_start = now() - interval '1 hour' where user_id = 'ada'")
	r.exec("select vpn_recount('ada')")
	require.EqualValues(t, 1_500, value[int64](r, "select used from vpn_allowance('ada')"))
	r.reportUsage(n, 2, ada.key(), 1_000, 500)
	r.exec("select vpn_recount('ada')")
	require.EqualValues(t, 3_000, value[int64](r, "select used from vpn_allowance('ada')"))
}
