package wgnode

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

// usingDataplane has a share of its peers, in percent, move some data between any two readings of all.
type usingDataplane struct {
	idleDataplane
	percent int
	rand    *rand.Rand
	peers   []PeerStats
}

func (d *usingDataplane) Stats(_ context.Context, q StatsQuery) (Stats, error) {
	if !q.All {
		return Stats{}, nil
	}
	for i := range d.peers {
		if d.rand.IntN(100) < d.percent {
			c := &d.peers[i].Counters
			c.Download, c.Upload = c.Download+d.rand.Uint64N(200e6), c.Upload+d.rand.Uint64N(20e6)
		}
	}
	return Stats{Peers: d.peers}, nil
}

// logging is a node with peers and a usage log on a disk. It reads nothing of its own accord.
func logging(b *testing.B, peers, percent int, opts usagelog.Options) (n *Node, dir string) {
	b.Helper()
	dir = filepath.Join(b.TempDir(), "usage")
	log, err := usagelog.Open(dir, opts)
	require.NoError(b, err)
	d := &usingDataplane{percent: percent, rand: rand.New(rand.NewPCG(1, 2))}
	n, err = New(Config{Dataplane: d, UsageLog: log, CheckpointPeriod: 1000 * time.Hour, SyncPeriod: 1000 * time.Hour,
		Pool: ipam.Config{Quarantine: ipam.NoQuarantine}})
	require.NoError(b, err)
	n.cfg.UsageLogPeriod = 1000 * time.Hour
	require.NoError(b, n.Start(b.Context()))
	b.Cleanup(func() { require.NoError(b, n.Close()) })
	specs := make([]PeerSpec, peers)
	for i := range specs {
		specs[i].PublicKey, err = wgtypes.GenerateKey() // that has no private one
		require.NoError(b, err)
		d.peers = append(d.peers, PeerStats{PublicKey: specs[i].PublicKey})
	}
	_, err = n.AddPeers(b.Context(), specs)
	require.NoError(b, err)
	return n, dir
}

// BenchmarkUsageLogInterval logs the counters of 10,000 peers, all of which moved: what the node does while no change is made,
// and, as written, until the log has it on the disk. The checkpoint before, which reads the counters, is not timed.
func BenchmarkUsageLogInterval(b *testing.B) {
	for _, written := range []bool{false, true} {
		name := "changes wait"
		if written {
			name = "written"
		}
		b.Run(name, func(b *testing.B) {
			n, _ := logging(b, 10_000, 100, usagelog.Options{})
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				require.NoError(b, n.Checkpoint(b.Context()))
				b.StartTimer()
				done := n.logAll(time.Now())
				if !written {
					b.StopTimer()
				}
				<-done
				b.StartTimer()
			}
		})
	}
}

// BenchmarkUsageLogDay is what a day of the default period takes on the disk for each of 10,000 peers.
func BenchmarkUsageLogDay(b *testing.B) {
	for name, percent := range map[string]int{"all use": 100, "a tenth uses": 10, "none uses": 0} {
		b.Run(name, func(b *testing.B) {
			const peers, days = 10_000, 2
			n, dir := logging(b, peers, percent, usagelog.Options{NoSync: true})
			midnight := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
			for b.Loop() {
				for i := range days * int(24*time.Hour/DefaultUsageLogPeriod) {
					require.NoError(b, n.Checkpoint(b.Context()))
					<-n.logAll(midnight.Add(time.Duration(i) * DefaultUsageLogPeriod))
				}
				midnight = midnight.AddDate(0, 0, days)
			}
			var size int64
			require.NoError(b, filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				info, err := entry.Info()
				size += info.Size()
				return err
			}))
			b.ReportMetric(float64(size)/float64(b.N*days*peers), "B/peer-day")
		})
	}
}

// BenchmarkRemovePeerLogged removes a peer beside 10,000, with its last reading synced before.
func BenchmarkRemovePeerLogged(b *testing.B) {
	for _, logged := range []bool{false, true} {
		name := "log"
		if !logged {
			name = "none"
		}
		b.Run(name, func(b *testing.B) {
			n, _ := logging(b, 10_000, 0, usagelog.Options{})
			if !logged {
				n.usageLog.log = discardingLog{n.usageLog.log}
			}
			key := newKey(b)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				_, err := n.AddPeer(b.Context(), PeerSpec{PublicKey: key, DataCap: quota.Cap{Bytes: quota.GiB}})
				require.NoError(b, err)
				b.StartTimer()
				require.NoError(b, n.RemovePeer(b.Context(), key))
			}
		})
	}
}

// discardingLog writes no last readings.
type discardingLog struct{ UsageLog }

func (discardingLog) AppendSome(context.Context, time.Time, []usagelog.Reading) error { return nil }
