package fleettest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// TestFailover is the life of one fleet, as docs/fleet-failover.md has it.
func TestFailover(t *testing.T) {
	f := newFleet(t)
	began := time.Now()
	for _, step := range []struct {
		name string
		run  func(*fleet, *testing.T)
	}{
		{"three join", (*fleet).join},
		{"the database is away", (*fleet).outage},
		{"one is killed", (*fleet).killed},
		{"one is cut off", (*fleet).partition},
		{"each is drained", (*fleet).drain},
		{"all is accounted for", func(f *fleet, t *testing.T) { f.accounts(t, began) }},
	} {
		before := time.Now()
		if !t.Run(step.name, func(t *testing.T) { step.run(f, t) }) {
			return
		}
		t.Logf("%s: %v", step.name, time.Since(before).Round(100*time.Millisecond))
	}
}

// join has three hosts in the fleet, and a phone at each.
func (f *fleet) join(t *testing.T) {
	for _, h := range f.hosts {
		h.start(f.t)
	}
	f.online(t, f.hosts...)
	f.control(f.t)
	for i, h := range f.hosts {
		p := newPhone(f.t, []string{"ann", "bob", "cat"}[i], uint32(i+1))
		f.phones = append(f.phones, p)
		f.connect(t, p, h.position)
		require.Equal(t, h.name, f.owner(t, p).name)
		p.start()
		p.flows(t, h)
		server := f.server(t, h)
		require.Contains(t, server.Features, h.dataplane)
		require.Equal(t, 1, server.Assigned)
	}
}

// outage has no database for longer than the freshness: nothing changes for anybody, on any host, also when it is there again.
func (f *fleet) outage(t *testing.T) {
	f.quiet(t)
	before, sessions := f.counted(t), f.sessions(t)
	f.postgres.Stop(t)
	stopped := time.Now()
	f.resume()
	for i, p := range f.phones {
		for time.Since(stopped) < freshness+time.Second {
			p.flows(t, f.hosts[i])
		}
	}
	for i, p := range f.phones {
		p.flows(t, f.hosts[i])
	}
	f.quiet(t)
	for i, p := range f.phones {
		now, passed := f.counted(t)[i], f.internet.of(p.number)
		require.Equal(t, traffic{passed.download - before[i].seen.download, passed.upload - before[i].seen.upload},
			traffic{now.node.download - before[i].node.download, now.node.upload - before[i].node.upload}, p.name)
	}
	f.resume()
	f.postgres.Restart(t)
	f.online(t, f.hosts...)
	for i, p := range f.phones {
		p.flows(t, f.hosts[i])
	}
	back := time.Now()
	eventually(t, "the control plane has looked again and again", func() bool { return time.Since(back) > freshness+time.Second })
	require.Equal(t, sessions, f.sessions(t), "no session has moved")
	for i, p := range f.phones {
		p.flows(t, f.hosts[i])
	}
}

// killed has the owner of a session end without a word, and come back.
func (f *fleet) killed(t *testing.T) {
	ann, old := f.phones[0], f.hosts[0]
	server, session := f.server(t, old), f.session(t, ann)
	_, addresses := ann.now()
	old.kill(t)
	owner := f.settled(t, ann, old, f.hosts[1], f.hosts[2])
	ann.flows(t, owner)
	now := f.session(t, ann)
	require.Equal(t, session.ID, now.ID)
	require.Equal(t, session.PublicKey, now.PublicKey)
	require.Greater(t, now.Generation, session.Generation)
	_, later := ann.now()
	require.Equal(t, addresses, later, "they were free there")

	old.start(f.t)
	require.Equal(t, owner, f.settled(t, ann, old, f.hosts...), "the one that came back has dropped the peer")
	f.online(t, old)
	again := f.server(t, old)
	require.Equal(t, server.ID, again.ID)
	require.Greater(t, again.Incarnation, server.Incarnation)
	ann.flows(t, owner)
}

// partition cuts the owner of a session off from all but the session's phone.
func (f *fleet) partition(t *testing.T) {
	cat, old := f.phones[2], f.hosts[2]
	before := f.session(t, cat)
	heal := cut(t, old)
	require.NoError(t, cat.setOffline(true))
	var owner *host
	eventually(t, "the session has moved", func() bool {
		owner = f.owner(t, cat)
		return owner != old && f.session(t, cat).State == registry.Active
	})
	elsewhere := cat.through(owner.outside)
	cat.flows(t, old)
	require.Equal(t, elsewhere, cat.through(owner.outside))
	for _, h := range []*host{old, owner} {
		_, ok := h.has(t, cat.public())
		require.True(t, ok, "%s holds the peer", h.name)
	}
	require.NoError(t, cat.setOffline(false))
	cat.flows(t, owner)
	served := cat.through(old.outside)
	cat.flows(t, owner)
	require.Equal(t, served, cat.through(old.outside), "the old owner serves nobody any more")

	heal()
	f.settled(t, cat, old, f.hosts...)
	f.refused(t, old, before)
	old.kill(t)
	old.start(f.t)
	f.refused(t, old, before)
	f.online(t, old)
	require.Equal(t, owner, f.settled(t, cat, old, f.hosts...))
	cat.flows(t, owner)
}

// refused has a request of a generation that is over arrive at a host in its time.
func (f *fleet) refused(t *testing.T, h *host, s registry.Session) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: f.ca.trusted()}
	defer transport.CloseIdleConnections()
	c, err := client.New(client.Config{
		URL: f.server(t, h).APIURL, HTTPClient: &http.Client{Transport: transport},
		Authorize: func(r *http.Request, _ []byte) error {
			return sign.Request(r, f.key, sign.Claims{Subject: "control-plane", Audience: h.name, Scopes: []string{"peers:write"}})
		},
	})
	require.NoError(t, err)
	_, err = c.CreatePeer(t.Context(), api.PeerSpec{PublicKey: api.Key(s.PublicKey), Labels: map[string]string{
		registry.SessionLabel: string(s.ID), registry.GenerationLabel: fmt.Sprint(s.Generation),
	}}, client.IdempotencyKey(uuid.NewString()))
	require.ErrorIs(t, err, client.ErrConflict)
	require.ErrorContains(t, err, "overtaken")
	_, err = f.nodes.Create(t.Context(), f.server(t, h), s) // which the host may answer as it did then
	if err == nil {
		_, err = f.registry.Confirm(t.Context(), s.ID, s.Generation, s.Addresses)
		require.ErrorIs(t, err, registry.ErrConflict)
	}
	_, ok := h.has(t, s.PublicKey)
	require.False(t, ok)
}

// drain empties each host before a maintenance, one by whoever runs it, the others by whoever runs the fleet.
func (f *fleet) drain(t *testing.T) {
	for i, h := range f.hosts {
		server := f.server(t, h)
		if i == 0 {
			h.waylumed(t, "drain", "--api", h.api.URL())
		} else {
			require.NoError(t, f.registry.SetDraining(t.Context(), server.ID, true))
		}
		for _, p := range f.phones {
			p.flows(t, f.settled(t, p, h, f.hosts...))
		}
		eventually(t, h.name+" has nothing to do", func() bool {
			server, node := f.server(t, h), f.node(t, h)
			return server.Draining && server.Assigned == 0 && server.Peers == 0 && node.Draining && node.Peers == 0
		})
		if i == 0 {
			h.waylumed(t, "undrain", "--api", h.api.URL())
		} else {
			require.NoError(t, f.registry.SetDraining(t.Context(), server.ID, false))
		}
		f.online(t, h)
		eventually(t, h.name+" takes peers again", func() bool { return !f.node(t, h).Draining })
	}
}

// accounts holds the fleet's books to what the hosts have logged.
func (f *fleet) accounts(t *testing.T, began time.Time) {
	f.halt()
	f.quiet(t)
	for _, h := range f.hosts {
		h.stop(t)
	}
	for again := range 2 {
		for _, h := range f.hosts {
			h.start(f.t)
		}
		f.online(t, f.hosts...)
		logged := f.logged(t, began)
		eventually(t, "what was used is reported, once", func() bool {
			for _, p := range f.phones {
				s := f.session(t, p)
				if (traffic{s.Download, s.Upload}) != logged[s.PublicKey] || s.Download == 0 {
					return false
				}
			}
			return true
		})
		if again == 0 {
			f.resume()
			for _, p := range f.phones {
				require.NoError(t, p.reconnect())
				p.flows(t, f.owner(t, p))
			}
			f.quiet(t)
		}
		for _, h := range f.hosts {
			h.stop(t)
		}
	}
	require.Zero(t, value[int](t, f, "select count(*) from vpn_usage where session_id is null"))
	bob, seen := f.session(t, f.phones[1]), f.internet.of(f.phones[1].number)
	// No host of his was killed. A host that he leaves reads his counters and then removes him: what passes in between, a few questions at
	// most on a busy machine, it does not count.
	const between = 8 * (headers + mostSize)
	require.LessOrEqual(t, bob.Upload, seen.upload, "nothing is counted twice")
	require.LessOrEqual(t, seen.upload-bob.Upload, int64(between))
}
