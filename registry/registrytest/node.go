package registrytest

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

const long = 10 * registry.DefaultFreshness

var registerTests = map[string]func(*env){
	"a server has a UUID and counts its registrations": func(e *env) {
		n := e.join("fra-1")
		require.NoError(e, n.Server.Validate())
		require.Positive(e, n.Incarnation)
		require.Zero(e, n.UsageSequence)
		first := n.Registered
		n.register()
		require.Equal(e, first.Server, n.Server)
		require.Greater(e, n.Incarnation, first.Incarnation)
	},
	"two names are two servers": func(e *env) {
		require.NotEqual(e, e.join("fra-1").Server, e.join("fra-2").Server)
	},
	"what is invalid is refused with every problem": func(e *env) {
		_, err := e.as("fra-1").Register(e.ctx, registry.Registration{Name: "fra-1", Location: registry.Location{Country: "Germany"}})
		require.ErrorIs(e, err, registry.ErrInvalid)
		bad := registration("fra-1")
		bad.EndpointV4 = netip.AddrPort{}
		_, err = e.as("fra-1").Register(e.ctx, bad)
		require.ErrorIs(e, err, registry.ErrInvalid)
		bad = registration("fra-1")
		bad.PublicKey = registry.Key{}
		_, err = e.as("fra-1").Register(e.ctx, bad)
		require.ErrorIs(e, err, registry.ErrInvalid)
	},
	"the name of a node that is alive is its own": func(e *env) {
		if e.As != nil {
			e.Skip("a credential is of one name, and whoever has it is that node")
		}
		first := e.join("fra-1")
		other := registration("fra-1")
		other.PublicKey = key("other")
		_, err := first.reg.Register(e.ctx, other)
		require.ErrorIs(e, err, registry.ErrNameTaken)
		first.beat() // which has not been superseded

		e.Advance(long)
		registered, err := first.reg.Register(e.ctx, other)
		require.NoError(e, err, "the first is silent")
		require.Equal(e, first.Server, registered.Server)
		first.sequence++
		_, err = first.reg.Heartbeat(e.ctx, first.heartbeat())
		require.ErrorIs(e, err, registry.ErrSuperseded)
	},
	"the name of a node that has left is free at once": func(e *env) {
		first := e.join("fra-1")
		require.NoError(e, first.reg.Deregister(e.ctx, first.Server))
		other := registration("fra-1")
		other.PublicKey = key("other")
		registered, err := first.reg.Register(e.ctx, other)
		require.NoError(e, err)
		require.Equal(e, first.Server, registered.Server)
	},
	"a node that leaves and returns is the same": func(e *env) {
		n := e.join("fra-1")
		before := n.Registered
		require.NoError(e, n.reg.Deregister(e.ctx, n.Server))
		require.NoError(e, n.reg.Deregister(e.ctx, n.Server), "a second time")
		n.sequence++
		_, err := n.reg.Heartbeat(e.ctx, n.heartbeat())
		require.ErrorIs(e, err, registry.ErrUnknownServer)
		n.register()
		require.Equal(e, before.Server, n.Server)
		require.Greater(e, n.Incarnation, before.Incarnation)
		n.beat()
	},
	"a canceled context is an error": func(e *env) {
		n := e.join("fra-1")
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		_, err := n.reg.Register(ctx, n.registration)
		require.Error(e, err)
		_, err = n.reg.Heartbeat(ctx, n.heartbeat())
		require.Error(e, err)
	},
}

var heartbeatTests = map[string]func(*env){
	"is answered": func(e *env) {
		answer := e.join("fra-1").beat()
		require.False(e, answer.Now.IsZero())
		require.False(e, answer.Draining)
		require.Empty(e, answer.Releases)
		require.False(e, answer.More)
	},
	"of a server that is not known": func(e *env) {
		n := e.join("fra-1")
		want := []error{registry.ErrUnknownServer}
		if e.As != nil {
			want = append(want, registry.ErrDenied) // a credential does not even learn which servers there are
		}
		_, err := n.reg.Heartbeat(e.ctx, registry.Heartbeat{Server: nobody, Incarnation: 1, Sequence: 1})
		e.isOneOf(err, want...)
		e.isOneOf(n.reg.Drain(e.ctx, nobody, true), want...)
		if err := n.reg.Deregister(e.ctx, nobody); e.As == nil {
			require.NoError(e, err)
		}
	},
	"of an earlier process is refused": func(e *env) {
		n := e.join("fra-1")
		old := n.heartbeat()
		old.Sequence += 5
		n.register()
		_, err := n.reg.Heartbeat(e.ctx, old)
		require.ErrorIs(e, err, registry.ErrSuperseded)
		n.beat()
	},
	"that arrives late or twice is answered and changes nothing": func(e *env) {
		n := e.join("fra-1")
		n.status = registry.Status{Peers: 1}
		n.beat()
		late := n.heartbeat()
		n.status = registry.Status{Peers: 2}
		n.beat()
		e.Advance(long)
		_, err := n.reg.Heartbeat(e.ctx, late)
		require.NoError(e, err)
		_, err = n.reg.Heartbeat(e.ctx, n.heartbeat())
		require.NoError(e, err)
		if e.Directory == nil {
			return
		}
		require.Equal(e, 2, n.server().Peers)
		fresh, err := e.Directory.List(e.ctx, registry.Filter{Fresh: registry.DefaultFreshness})
		require.NoError(e, err)
		require.Empty(e, fresh, "what was sent before is no sign of life")
	},
	"what is invalid is refused": func(e *env) {
		n := e.join("fra-1")
		for what, edit := range map[string]func(*registry.Heartbeat){
			"health":      func(h *registry.Heartbeat) { h.Health = "well" },
			"load":        func(h *registry.Heartbeat) { h.Load.Score = 1.5 },
			"peers":       func(h *registry.Heartbeat) { h.Peers = -1 },
			"incarnation": func(h *registry.Heartbeat) { h.Incarnation = 0 },
			"reasons":     func(h *registry.Heartbeat) { h.Reasons = make([]string, registry.MaxReasons+1) },
		} {
			h := n.heartbeat()
			h.Sequence++
			edit(&h)
			_, err := n.reg.Heartbeat(e.ctx, h)
			require.ErrorIs(e, err, registry.ErrInvalid, what)
		}
		n.beat()
	},
	"tells a node that it is to drain": func(e *env) {
		if e.SetDraining == nil {
			e.Skip("nobody can say so here")
		}
		n := e.join("fra-1")
		require.NoError(e, e.SetDraining(e.ctx, n.Server, true))
		require.True(e, n.beat().Draining)
		n.register()
		require.True(e, n.beat().Draining, "after a restart, too")
		require.NoError(e, e.SetDraining(e.ctx, n.Server, false))
		require.False(e, n.beat().Draining)
		n.draining = true
		require.False(e, n.beat().Draining, "what the node wants is not the fleet's wish")
	},
}

var usageTests = map[string]func(*env){
	"reports are taken in their order, each once": func(e *env) {
		n := e.join("fra-1")
		now := n.beat().Now
		usage := registry.PeerUsage{PublicKey: key("stranger"), Download: 1, Upload: 2}
		n.report(now, usage)
		for range 2 {
			n.reports--
			n.report(now, usage)
		}
		n.report(now)
		receipt, err := n.reg.ReportUsage(e.ctx, registry.UsageReport{Server: n.Server, Sequence: 1, From: now, To: now})
		require.NoError(e, err)
		require.EqualValues(e, 2, receipt.Sequence)
	},
	"a gap is refused": func(e *env) {
		n := e.join("fra-1")
		now := n.beat().Now
		_, err := n.reg.ReportUsage(e.ctx, registry.UsageReport{Server: n.Server, Sequence: 2, From: now, To: now})
		require.ErrorIs(e, err, registry.ErrGap)
		n.report(now)
		_, err = n.reg.ReportUsage(e.ctx, registry.UsageReport{Server: n.Server, Sequence: 3, From: now, To: now})
		require.ErrorIs(e, err, registry.ErrGap)
		n.report(now)
	},
	"a node that registers learns where it was": func(e *env) {
		n := e.join("fra-1")
		now := n.beat().Now
		n.report(now)
		n.report(now)
		n.register()
		require.EqualValues(e, 2, n.UsageSequence)
		require.NoError(e, n.reg.Deregister(e.ctx, n.Server))
		n.register()
		require.EqualValues(e, 2, n.UsageSequence)
		n.report(now)
	},
	"of a server that is not known": func(e *env) {
		n := e.join("fra-1")
		now := n.beat().Now
		_, err := n.reg.ReportUsage(e.ctx, registry.UsageReport{Server: nobody, Sequence: 1, From: now, To: now})
		if e.As != nil {
			e.isOneOf(err, registry.ErrDenied, registry.ErrUnknownServer)
		} else {
			require.ErrorIs(e, err, registry.ErrUnknownServer)
		}
	},
	"what is invalid is refused": func(e *env) {
		n := e.join("fra-1")
		now := n.beat().Now
		for what, edit := range map[string]func(*registry.UsageReport){
			"sequence": func(r *registry.UsageReport) { r.Sequence = 0 },
			"times":    func(r *registry.UsageReport) { r.From = now.Add(time.Hour) },
			"key":      func(r *registry.UsageReport) { r.Usages[0].PublicKey = registry.Key{} },
			"bytes":    func(r *registry.UsageReport) { r.Usages[0].Download = -1 },
		} {
			r := registry.UsageReport{Server: n.Server, Sequence: 1, From: now, To: now, Usages: []registry.PeerUsage{{PublicKey: key("x")}}}
			edit(&r)
			_, err := n.reg.ReportUsage(e.ctx, r)
			require.ErrorIs(e, err, registry.ErrInvalid, what)
		}
		n.report(now)
	},
}

func (e *env) isOneOf(err error, targets ...error) {
	e.Helper()
	for _, target := range targets[1:] {
		if errors.Is(err, target) {
			return
		}
	}
	require.ErrorIs(e, err, targets[0])
}
