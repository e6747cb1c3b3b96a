package sessiontest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A drained node loses its sessions; those that are over, or that nobody has come for, end; what is old is forgotten.
func TestCleanup(t *testing.T) {
	r := newRig(t)
	first, second := r.node("fra-1", near), r.node("vie-1", far)
	ada := r.subscribed("ada", "pro")
	drained, expired := ada.deviceHere("session-drained"), ada.deviceHere("session-expired")
	c := drained.connect()
	over := expired.connect()
	r.exec("select waylume_set_draining($1::uuid, true)", first.id)
	r.exec("update vpn_sessions set expires_at = now() where id = $1::uuid", over.Session)
	// A request that came no further than its place.
	bob := r.subscribed("bob", "basic").device("session-lost")
	r.exec(`select waylume_session_begin(jsonb_build_object('user', 'bob', 'idempotency_key', 'session-lost', 'public_key', $1::text))`,
		bob.key().String())
	r.exec("update vpn_sessions set created_at = now() - interval '1 hour', placed_at = now() - interval '1 hour' where user_id = 'bob'")
	r.exec("insert into stripe_events (id, type, created, handled_at) values ('evt_old', 'x', now(), now() - interval '1 year')")
	require.Equal(t, cleaned{Moved: 1, Ended: 2, Pruned: 1}, r.cleanup())
	again := drained.connect()
	require.Equal(t, "vie-1", again.Server.Name)
	require.Equal(t, c.Addresses, again.Addresses)
	require.Len(t, second.peers(), 1)
	require.Equal(t, []string{"abandoned", "expired"},
		value[[]string](r, "select array_agg(end_reason order by end_reason) from vpn_sessions where state = 'ended'"))

	// Who has a lesser plan keeps as many sessions as it has, the oldest first.
	third := ada.device("session-third")
	third.connect()
	r.exec("update subscriptions set plan = 'basic' where user_id = 'ada'")
	require.Equal(t, cleaned{Ended: 1, Told: 1}, r.cleanup())
	require.Len(t, second.peers(), 1)
	require.EqualValues(t, 8_000_000, second.peers()[0].SpeedLimit.Download)
	r.refused(third.ask(), http.StatusConflict, "ended")
}
