package registrytest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

func used(k registry.Key, download, upload int64) registry.PeerUsage {
	return registry.PeerUsage{PublicKey: k, Download: download, Upload: upload}
}

// uses requires what a session has used so far.
func (e *env) uses(r registry.NewSession, download, upload int64) {
	e.Helper()
	s := e.begin(r)
	require.Equal(e, [2]int64{download, upload}, [2]int64{s.Download, s.Upload})
}

var sessionUsageTests = map[string]func(*env){
	"is added once": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		e.active(request("bob"))
		now := n.beat().Now
		n.report(now, used(s.PublicKey, 100, 10), used(key("bob"), 7, 8), used(s.PublicKey, 1, 2))
		e.uses(request("ann"), 101, 12)
		e.uses(request("bob"), 7, 8)
		n.reports--
		n.report(now, used(s.PublicKey, 100, 10))
		e.uses(request("ann"), 101, 12)
		n.register()
		require.EqualValues(e, 1, n.UsageSequence)
		n.report(now, used(s.PublicKey, 1000, 0))
		e.uses(request("ann"), 1101, 12)
	},
	"of a gap is not added": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		now := n.beat().Now
		_, err := n.reg.ReportUsage(e.ctx, registry.UsageReport{
			Server: n.Server, Sequence: 2, From: now, To: now, Usages: []registry.PeerUsage{used(s.PublicKey, 1, 1)},
		})
		require.ErrorIs(e, err, registry.ErrGap)
		e.uses(request("ann"), 0, 0)
	},
	"sums up over moves, however late": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.active(request("ann"))
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		from, to := e.owner(s), e.owner(moved)
		to.report(to.beat().Now, used(s.PublicKey, 5, 0))
		from.report(from.beat().Now, used(s.PublicKey, 100, 0))
		e.uses(request("ann"), 105, 0)
		_, err = e.Sessions.Move(e.ctx, s.ID, 2)
		require.NoError(e, err)
		from.report(from.beat().Now, used(s.PublicKey, 1000, 0))
		e.uses(request("ann"), 1105, 0)
	},
	"of a session that has ended": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		_, err := e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		n.report(n.beat().Now, used(s.PublicKey, 3, 4))
		e.uses(request("ann"), 3, 4)
	},
	"of a key that was two sessions' is of the one at the time": func(e *env) {
		n := e.join("a")
		first := request("ann")
		s := e.active(first)
		_, err := e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		e.Advance(2 * time.Hour)
		n.beat()
		second := request("ann")
		second.IdempotencyKey = "second"
		e.active(second)
		now := n.beat().Now
		n.report(now.Add(-time.Hour), used(s.PublicKey, 1, 0))
		e.uses(first, 1, 0)
		e.uses(second, 0, 0)
		n.report(now.Add(time.Second), used(s.PublicKey, 10, 0))
		e.uses(first, 1, 0)
		e.uses(second, 10, 0)
		n.report(now.Add(-24*time.Hour), used(s.PublicKey, 100, 0)) // by a clock that is far off
		e.uses(first, 101, 0)
	},
	"of a key that is nobody's changes no session": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.active(request("ann"))
		elsewhere := e.nodes[0]
		if elsewhere == e.owner(s) {
			elsewhere = e.nodes[1]
		}
		elsewhere.report(elsewhere.beat().Now, used(s.PublicKey, 1, 1), used(key("stranger"), 1, 1))
		e.uses(request("ann"), 0, 0)
	},
}
