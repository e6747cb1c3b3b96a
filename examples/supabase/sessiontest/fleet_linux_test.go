package sessiontest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// enroll changes a node's settings to those of one that has a token, and trusts nobody whom its fleet does not name.
func (r *rig) enroll(n *node, at place, settings map[string]any) {
	r.t.Helper()
	delete(settings["api"].(map[string]any), "auth")
	settings["fleet"] = map[string]any{
		"url": []string{r.URL}, "token": value[string](r, "select token from fleet_issue_enrollment(name => $1)", n.name),
		"api_url": n.apiURL, "region": "eu", "country": "DE", "city": "Frankfurt", "position": fmt.Sprint(at.latitude, " ", at.longitude),
		"heartbeat": "1s", "usage_period": "10s",
	}
}

// joined waits until the fleet has heard of the node.
func (n *node) joined() {
	t := n.rig.t
	t.Helper()
	n.rig.until("the node is in the fleet", func() bool {
		n.id = value[string](n.rig, `select coalesce((select id::text from waylume_servers where name = $1
			and heartbeat_at > now() - interval '10 seconds' and heartbeat_sequence > 0), '')`, n.name)
		return n.id != ""
	})
}

// until waits until something has come to be.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(50 * time.Millisecond) {
		require.True(r.t, time.Now().Before(deadline), what)
	}
}

// Nodes that have joined by one token each: a client connects and downloads, its node is killed, the schedule moves its session, and it
// goes on with the same key. The node that comes back lets go of the peer, and reports what it used, once.
func TestFleet(t *testing.T) {
	online(t)
	r := newRig(t)
	// What else this machine is at work on must not keep sessions off its nodes.
	r.exec(`create function calm() returns trigger language plpgsql as 'begin new.load := 0; return new; end'`)
	r.exec("create trigger calm before update on waylume_servers for each row execute function calm()")
	at, beyond := near, far
	at.member, beyond.member = true, true
	first, second := r.node("fra-1", at), r.node("vie-1", beyond)
	require.Contains(t, string(r.send(http.MethodGet, "/vpn-nodes-list", nil).body), `"fra-1"`)
	ada := r.subscribed("ada", "basic")
	d := ada.deviceHere("session-one")
	c := d.connect()
	require.Equal(t, "fra-1", c.Server.Name)
	tunnel := d.up(c)
	got, _ := d.download(tunnel, 500_000, patience)
	require.GreaterOrEqual(t, got, 500_000)
	// Every second: what was not is forgotten by the one who is killed. The client is there yet, to say that the connection is closed: else
	// the node sends again what was under way, ever more rarely.
	r.until("the counters are stored", func() bool {
		before := counted(first, d)
		time.Sleep(1500 * time.Millisecond)
		return before == counted(first, d)
	})
	total := counted(first, d)
	require.NoError(t, tunnel.Close())

	first.kill()
	// A heartbeat of its last moment may come yet.
	r.until("its session is moved", func() bool {
		first.silent()
		return r.cleanup() == cleaned{Moved: 1}
	})
	again := d.connect()
	require.Equal(t, "vie-1", again.Server.Name)
	require.Equal(t, c.Session, again.Session)
	require.Equal(t, c.Addresses, again.Addresses)
	got, _ = d.download(d.up(again), 100_000, patience)
	require.GreaterOrEqual(t, got, 100_000)

	first.start()
	r.until("the node that is back has let go", func() bool { return len(first.peers()) == 0 })
	require.Len(t, second.peers(), 1)
	r.until("what it used is reported", func() bool {
		return value[int64](r, `select coalesce(sum(download + upload), 0)::bigint from vpn_placements
			where session_id = $1::uuid and generation = 1`, c.Session) == total
	})
	require.GreaterOrEqual(t, value[int64](r, "select used from vpn_allowance('ada')"), total)
	// The other's cap has it, too: what was used elsewhere is not left there.
	r.until("the cap is told", func() bool { return uint64(second.peers()[0].DataCap.Bytes) <= uint64(20_000_000-total) })
	require.Equal(t, http.StatusOK, ada.end(c.Session).status)
	require.Empty(t, second.peers())
}

// counted is what a node has counted for a client.
func counted(n *node, d *device) int64 {
	n.rig.t.Helper()
	used := n.usage(d.key())
	return int64(used.Download + used.Upload)
}
