package membership

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

func TestReleasesAreCarriedOutInOrderAndThenAcknowledged(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.fleet.release("fra-1", 3)
		pass(2 * registry.DefaultInterval)
		require.Equal(t, [][]int64{{1, 2, 3}}, r.node.batches, "once")
		pass(2 * registry.DefaultInterval)
		require.Equal(t, int64(3), r.fleet.server("fra-1").last.Released)
		require.Equal(t, int64(3), r.State().Released)

		r.kill()
		r.start()
		r.fleet.release("fra-1", 1)
		pass(2 * registry.DefaultInterval)
		require.Equal(t, [][]int64{{1, 2, 3}, {4}}, r.node.batches, "what was carried out before a restart does not come again")
	})
}

func TestMoreReleasesAreNotWaitedFor(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.fleet.release("fra-1", 10*registry.MaxReleases)
		pass(registry.DefaultInterval * 3 / 2)
		require.Len(t, r.node.batches, 10)
		require.GreaterOrEqual(t, r.fleet.server("fra-1").last.Released, int64(9*registry.MaxReleases), "the last wait for their time")
	})
}

func TestReleaseThatFailsIsNotAcknowledged(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.node.set(func(n *fakeNode) { n.releaseErr = errNode })
		r.fleet.release("fra-1", 3)
		pass(time.Hour)
		require.Zero(t, r.fleet.server("fra-1").last.Released)
		require.ErrorIs(t, r.State().ReleaseError, errNode)
		require.Equal(t, 3, r.State().PendingReleases)
		require.Equal(t, Joined, r.State().Phase, "heartbeats go on")
		require.Len(t, r.logs.from(slog.LevelError), 1)

		r.fleet.release("fra-1", 1)
		pass(2 * registry.DefaultInterval) // the node hears of it
		r.node.set(func(n *fakeNode) { n.releaseErr = nil })
		pass(2 * maxWorkBackoff)
		require.Equal(t, [][]int64{{1, 2, 3, 4}}, r.node.batches)
		require.Equal(t, int64(4), r.fleet.server("fra-1").last.Released)
		require.NoError(t, r.State().ReleaseError)
		require.Zero(t, r.State().PendingReleases)
	})
}

func TestReleasesThatTakeLongDoNotStopHeartbeats(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.node.set(func(n *fakeNode) { n.releaseDelay = 25 * time.Second })
		r.fleet.release("fra-1", 1)
		pass(20 * time.Second)
		before := r.fleet.count("heartbeat")
		pass(time.Minute)
		require.GreaterOrEqual(t, r.fleet.count("heartbeat")-before, 3)
		require.Equal(t, [][]int64{{1}}, r.node.batches)
	})
}

func TestReleasesWaitForTheDisk(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		dir := filepath.Dir(r.cfg.StateFile)
		require.NoError(t, os.Rename(dir, dir+"-away"))
		r.fleet.release("fra-1", 2)
		r.usage.append(1)
		pass(10 * time.Minute)
		require.Len(t, r.node.batches, 1)
		require.Error(t, r.State().FileError)
		require.Zero(t, r.fleet.server("fra-1").last.Released, "a restart would not know of it")
		require.Empty(t, r.fleet.server("fra-1").reports, "a restart would cut another report")
		require.True(t, r.State().PendingUsage)

		require.NoError(t, os.Rename(dir+"-away", dir))
		pass(5 * time.Minute)
		require.NoError(t, r.State().FileError)
		require.Equal(t, int64(2), r.fleet.server("fra-1").last.Released)
		require.Len(t, r.fleet.server("fra-1").reports, 1)
		require.Len(t, r.node.batches, 1)
	})
}

func TestAnotherServerHasOtherReleases(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.fleet.release("fra-1", 5)
		pass(time.Minute)
		require.Equal(t, int64(5), r.State().Released)
		r.kill()
		r.fleet.set(func(f *fakeFleet) { f.servers, f.byID = map[string]*fakeServer{}, map[registry.ID]*fakeServer{} }) // made anew
		r.node.batches = nil
		r.start()
		pass(time.Minute)
		r.fleet.release("fra-1", 2)
		pass(time.Minute)
		require.Equal(t, [][]int64{{1, 2}}, r.node.batches)
		require.Equal(t, int64(2), r.State().Released)
	})
}

// The answer of a registry that was set back comes while the node is at releases of the same numbers, from before.
func TestReleasesOfNumbersThatWereOthers(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.node.set(func(n *fakeNode) { n.releaseDelay = 20 * time.Second })
		r.fleet.release("fra-1", 2)
		pass(registry.DefaultInterval * 6 / 5)
		r.fleet.set(func(f *fakeFleet) {
			for i := range f.servers["fra-1"].releases {
				f.servers["fra-1"].releases[i].Generation++
			}
		})
		pass(5 * time.Minute)
		require.Equal(t, [][]int64{{1, 2}, {1, 2}}, r.node.batches, "those before, and those that have their numbers now")
		require.Equal(t, int64(2), r.fleet.server("fra-1").last.Released)
	})
}

func TestReleasesInOrderAndWithoutThoseDone(t *testing.T) {
	releases := func(sequences []int64) []registry.Release {
		var all []registry.Release
		for _, s := range sequences {
			all = append(all, registry.Release{Sequence: s})
		}
		return all
	}
	for _, c := range []struct {
		name             string
		come, done, want []int64
	}{
		{"none", nil, nil, nil},
		{"in order", []int64{1, 2, 3}, nil, []int64{1, 2, 3}},
		{"some are done", []int64{1, 2, 3}, []int64{1, 2}, []int64{3}},
		{"all are done", []int64{1, 2}, []int64{1, 2}, nil},
		{"mixed up and twice", []int64{5, 4, 5, 6}, []int64{2, 3}, []int64{4, 5, 6}},
		{"the file was lost", []int64{7, 8}, nil, []int64{7, 8}},
		{"up to a gap", []int64{4, 5, 7, 8}, []int64{3, 4}, []int64{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			come, done := releases(c.come), releases(c.done)
			got := without(inOrder(come), done)
			require.Equal(t, releases(c.want), append([]registry.Release(nil), got...))
			require.Equal(t, releases(c.come), come, "what came is not changed")
		})
	}
}
