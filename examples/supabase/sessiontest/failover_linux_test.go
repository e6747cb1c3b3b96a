package sessiontest

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// near is beside the client, and far is not: near is chosen as long as it can be.
var (
	here      = map[string]any{"latitude": 50.1, "longitude": 8.7}
	near, far = place{latitude: 50.1, longitude: 8.7}, place{latitude: 48.1, longitude: 16.4}
)

func (u *user) deviceHere(key string) *device {
	d := u.device(key)
	d.request["position"], d.request["slack"] = here, 1
	return d
}

// A node that is dead, that refuses, or that takes no new peers is passed over, and told to release what it may have.
func TestNextNode(t *testing.T) {
	r := newRig(t)
	first, second := r.node("fra-1", near), r.node("vie-1", far)
	ada := r.subscribed("ada", "pro")
	for name, spoil := range map[string]func() (mend func()){
		"dead": func() func() {
			first.kill()
			return first.start
		},
		"drained by its host": func() func() {
			local[struct{}](first, http.MethodPost, "/api/v1/node/drain", nil)
			return func() { local[struct{}](first, http.MethodPost, "/api/v1/node/undrain", nil) }
		},
		"of another audience": func() func() {
			r.exec("update waylume_servers set audience = 'another' where id = $1", first.id)
			return func() { r.exec("update waylume_servers set audience = '' where id = $1", first.id) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			mend := spoil()
			d := ada.deviceHere("session " + name)
			d.request["idempotency_key"] = strings.ReplaceAll("session "+name, " ", "-")
			c := d.connect()
			require.Equal(t, "vie-1", c.Server.Name)
			require.EqualValues(t, 2, c.Generation)
			require.Len(t, second.peers(), 1)
			require.EqualValues(t, 1, value[int64](r, `select count(*) from vpn_placements
				where session_id = $1::uuid and server_id = $2::uuid and release_sequence is not null`, c.Session, first.id))
			mend()
			require.Equal(t, c, d.connect(), "a session stays where it is served")
			require.Equal(t, http.StatusOK, ada.end(c.Session).status)
			require.Empty(t, second.peers())
			require.Empty(t, first.peers())
		})
	}
}

// The node has made the peer, but its answer is lost: asking again finds it.
func TestAnswerLost(t *testing.T) {
	r := newRig(t)
	b := newBetween(t)
	n := r.node("fra-1", place{apiURL: b.URL})
	var lost atomic.Int32
	b.set(n, loses(http.MethodPost, func() { lost.Add(1) }))
	d := r.subscribed("ada", "basic").device("session-one")
	a := d.ask()
	require.Equal(t, http.StatusServiceUnavailable, a.status, "there is no other node: %s", a.body)
	require.EqualValues(t, 1, lost.Load())
	require.Len(t, n.peers(), 1)
	b.set(n, nil)
	c := d.connect()
	require.EqualValues(t, 1, c.Generation)
	require.Len(t, n.peers(), 1)
	require.Equal(t, n.peers()[0].Addresses, c.Addresses)

	// So is that to a change of limits: it is told again.
	b.set(n, loses(http.MethodPatch, func() { lost.Add(1) }))
	now := time.Now()
	told := r.stripe(subscription("evt_1", "created", "ada", "price_pro", "active", now))
	require.Equal(t, handled{Handled: true, Failed: 1}, told)
	require.Equal(t, 1, r.cleanup().Failed)
	b.set(n, nil)
	require.Equal(t, 1, r.cleanup().Told)
	require.Zero(t, r.cleanup().Told)
	require.EqualValues(t, 80_000_000, n.peers()[0].SpeedLimit.Download)

	// A node that has lost the peer gets it again: with other addresses, where it keeps the former ones from everybody for a while.
	local[struct{}](n, http.MethodDelete, "/api/v1/peers/"+d.key().ID(), nil)
	again := d.connect()
	require.Equal(t, c.Session, again.Session)
	require.EqualValues(t, 1, again.Generation)
	require.Len(t, n.peers(), 1)
	require.Equal(t, n.peers()[0].Addresses, again.Addresses)
}

// What is in the way of a peer: that of a session which has ended goes, one that somebody has made by hand stays, and what a node says
// that has been taken over does not reach a client.
func TestInTheWay(t *testing.T) {
	r := newRig(t)
	b := newBetween(t)
	at := near
	at.apiURL = b.URL
	first := r.node("fra-1", at)
	ada := r.subscribed("ada", "pro")
	d := ada.deviceHere("session-one")
	b.set(first, nil)
	c := d.connect()
	b.set(first, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	require.Equal(t, http.StatusOK, ada.end(c.Session).status)
	require.Len(t, first.peers(), 1, "it could not be told")
	b.set(first, nil)
	d.request["idempotency_key"] = "session-two"
	again := d.connect()
	require.NotEqual(t, c.Session, again.Session)
	require.Len(t, first.peers(), 1)
	require.Equal(t, again.Session, first.peers()[0].Labels["waylume.session"])

	second := r.node("vie-1", far)
	own := ada.deviceHere("session-own")
	local[struct{}](first, http.MethodPost, "/api/v1/peers", strings.NewReader(`{"public_key": "`+own.key().String()+`", "name": "by hand"}`))
	require.Equal(t, "vie-1", own.connect().Server.Name)
	require.Len(t, first.peers(), 2)
	require.Len(t, second.peers(), 1)

	b.set(first, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if !strings.HasSuffix(r.URL.Path, "/config") {
			forward.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"dns": ["192.0.2.1\nPostUp = reboot"], "mtu": 1420, "allowed_ips": ["0.0.0.0/0"], "addresses": ["10.0.0.2"]}`))
	})
	c = ada.deviceHere("session-bad").connect()
	require.Equal(t, "vie-1", c.Server.Name)
	require.NotContains(t, c.Text, "PostUp")
}

// The node is killed when it has made the peer, before it has said so: the session is on another one, once.
func TestKilledBetween(t *testing.T) {
	r := newRig(t)
	b := newBetween(t)
	at := near
	at.apiURL = b.URL
	first, second := r.node("fra-1", at), r.node("vie-1", far)
	killed := make(chan struct{})
	b.set(first, loses(http.MethodPost, func() {
		first.kill()
		close(killed)
	}))
	d := r.subscribed("ada", "basic").deviceHere("session-one")
	c := d.connect()
	require.Equal(t, "vie-1", c.Server.Name)
	require.Len(t, second.peers(), 1)
	<-killed
	first.start()
	require.Len(t, first.peers(), 1, "it was durable")
	// It learns what to do with it when it is there again.
	answer := value[string](r, `select waylume_heartbeat(jsonb_build_object('server', id, 'incarnation', incarnation, 'sequence', 1))::text
		from waylume_servers where id = $1::uuid`, first.id)
	var said struct {
		Releases []struct {
			Session    string
			Generation int64
			PublicKey  api.Key `json:"public_key"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &said))
	require.Len(t, said.Releases, 1)
	require.Equal(t, c.Session, said.Releases[0].Session)
	require.EqualValues(t, 1, said.Releases[0].Generation)
	require.Equal(t, d.key(), said.Releases[0].PublicKey)
	require.Equal(t, c, d.connect())
}

// Many who ask for the same at once get the same; many who ask for more than the plan has get what it has.
func TestAtOnce(t *testing.T) {
	r := newRig(t)
	n := r.node("fra-1", place{})
	at := func(count int, ask func(i int) answer) []answer {
		answers := make([]answer, count)
		var group errgroup.Group
		for i := range count {
			group.Go(func() error {
				answers[i] = ask(i)
				return nil
			})
		}
		require.NoError(t, group.Wait())
		return answers
	}
	d := r.subscribed("ada", "basic").device("session-one")
	answers := at(6, func(int) answer { return d.ask() })
	for _, a := range answers {
		require.Equal(t, read[connection](r, answers[0]), read[connection](r, a))
	}
	require.Len(t, n.peers(), 1)

	bob := r.subscribed("bob", "tiny") // two sessions
	devices := make([]*device, 6)
	for i := range devices {
		devices[i] = bob.device("session-" + string(rune('a'+i)))
	}
	got := map[int]int{}
	for _, a := range at(len(devices), func(i int) answer { return devices[i].ask() }) {
		got[a.status]++
	}
	require.Equal(t, map[int]int{http.StatusOK: 2, http.StatusConflict: 4}, got)
	require.Len(t, n.peers(), 3)
}

// A node is killed; session-cleanup has its sessions on the other, and the client goes on with the same key and the same address.
func TestRehomed(t *testing.T) {
	online(t)
	r := newRig(t)
	first, second := r.node("fra-1", near), r.node("vie-1", far)
	ada := r.subscribed("ada", "pro")
	d := ada.deviceHere("session-one")
	c := d.connect()
	require.Equal(t, "fra-1", c.Server.Name)
	tunnel := d.up(c)
	got, _ := d.download(tunnel, 100_000, patience)
	require.GreaterOrEqual(t, got, 100_000)
	require.NoError(t, tunnel.Close())
	d.report(first)

	require.Equal(t, cleaned{}, r.cleanup(), "nothing is to be done")
	first.kill()
	first.silent()
	require.Equal(t, cleaned{Moved: 1}, r.cleanup())
	require.Equal(t, cleaned{}, r.cleanup())
	again := d.connect()
	require.Equal(t, c.Session, again.Session)
	require.EqualValues(t, 2, again.Generation)
	require.Equal(t, "vie-1", again.Server.Name)
	require.Equal(t, c.Addresses, again.Addresses)
	require.NotEqual(t, c.Endpoint, again.Endpoint)
	got, _ = d.download(d.up(again), 100_000, patience)
	require.GreaterOrEqual(t, got, 100_000)
	require.Len(t, second.peers(), 1)

	// With the other gone too there is nowhere to go: it waits, and is served as soon as there is.
	second.silent()
	require.Equal(t, cleaned{Stuck: 1}, r.cleanup())
	require.Equal(t, again, d.connect(), "the node answers, whether it is heard of or not")
	first.start()
	first.register(near)
	require.Equal(t, cleaned{Moved: 1}, r.cleanup())
	last := d.connect()
	require.Equal(t, "fra-1", last.Server.Name)
	require.EqualValues(t, 3, last.Generation)
	require.Equal(t, map[string]string{"waylume.session": c.Session, "waylume.generation": "3"}, first.peers()[0].Labels)
}

func (d *device) report(n *node) { n.report(d.key()) }
