package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
)

// AilingRig is a rig in which something can be made to be wrong with a dataplane.
type AilingRig interface {
	// Ail makes something be wrong with the dataplane that runs, of the kind that it returns, until heal is called. Nothing else
	// may be wrong with it.
	Ail(dp wgnode.Dataplane) (kind wgnode.ProblemKind, heal func() error, err error)
}

// testHealth: a dataplane that does well has no problem; what goes wrong is told when it is asked for, in words, while it is so,
// and counters are read all the same.
func testHealth(t *testing.T, h Harness) {
	d := newDirect(newBareWorld(t, h))
	p, private := d.peer(2)
	d.start(wgnode.State{Peers: []wgnode.PeerState{p}})
	d.exits(d.connect(p, private))
	problems := func(query wgnode.StatsQuery) []wgnode.HealthProblem {
		stats, err := d.dp.Stats(d.ctx, query)
		require.NoError(t, err)
		if query.All {
			require.Len(t, stats.Peers, 1)
			require.NotZero(t, stats.Peers[0].Counters)
		}
		return stats.Problems
	}
	require.Empty(t, problems(wgnode.StatsQuery{All: true, Device: true, Health: true}), "all is well")
	_, err := d.dp.Stats(canceled(), wgnode.StatsQuery{Health: true})
	require.ErrorIs(t, err, canceled().Err())

	rig, ok := d.rig.(AilingRig)
	if !ok {
		return
	}
	kind, heal, err := rig.Ail(d.dp)
	require.NoError(t, err)
	d.eventually(func() bool {
		list := problems(wgnode.StatsQuery{All: true, Health: true})
		return len(list) == 1 && list[0].Kind == kind && list[0].What != ""
	}, "it is not told what is wrong")
	require.NotEmpty(t, kind.Area())
	require.Nil(t, problems(wgnode.StatsQuery{All: true}), "what was not asked for")
	require.NoError(t, heal())
	d.eventually(func() bool { return len(problems(wgnode.StatsQuery{Health: true})) == 0 }, "what is wrong is not over")
	require.NoError(t, d.dp.Close())
	require.Empty(t, problems(wgnode.StatsQuery{Health: true}), "of what is closed nothing is wrong")
}
