//go:build linux

package kernel_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// setClock sets the machine's clock.
func setClock(t *testing.T, to time.Time) {
	t.Helper()
	at := unix.NsecToTimeval(to.UnixNano())
	require.NoError(t, unix.Settimeofday(&at))
}

// TestClock sets the clock of the virtual machine over the end of a period and over an expiry, forward and back: each period ends
// once, also while the node is down, no byte is in two, and who has expired too early is let in again.
func TestClock(t *testing.T) {
	if !vm.Inside() {
		t.Skip("it sets the clock of the whole machine; TestVM runs this in one of its own")
	}
	eachDriver(t, testClock)
}

func testClock(t *testing.T, driver kernel.Driver) {
	r := newRig(t, driver)
	t.Cleanup(r.closeIfFailed)
	s := &survival{r: r, server: r.serve(t, server4, server6)}
	began := time.Now()
	t.Cleanup(func() { setClock(t, began) })
	midnight := began.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	setClock(t, midnight.Add(-12*time.Hour))

	order := nodeOrder{Config: r.cfg, Port: freePort(t), Store: filepath.Join(t.TempDir(), "node.db"), Period: time.Second}
	node, _, err := order.start(t.Context())
	require.NoError(t, err)
	events := node.Subscribe()
	s.add(t, node, &s.limited, wgnode.PeerSpec{ExpiresAt: midnight.Add(time.Hour), GracePeriod: 48 * time.Hour})
	s.add(t, node, &s.capped, wgnode.PeerSpec{DataCap: quota.Cap{Bytes: spent, Period: quota.Period{Kind: quota.Daily}, Thresholds: []int{}}})
	s.connect(t)
	who := wgnode.OfPeer(s.capped.peer.PublicKey)
	used := func() quota.Usage {
		u, err := node.Usage(t.Context(), who)
		require.NoError(t, err)
		return u.Usage
	}
	send := func() {
		before := used().Used
		s.capped.phone.send(t, 1000)
		require.True(t, (&watched{}).comes(func() bool { return used().Used == before+1000+headers }))
	}
	// periods returns what was used in the periods that end within a time, the first so many.
	periods := func(within time.Duration, most int) (all []quota.Bytes) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		for e := range events.All(ctx) {
			if e.Kind == wgnode.PeriodStarted {
				all = append(all, e.Ended.Used)
			}
			if len(all) == most {
				break
			}
		}
		return all
	}
	// requireEnded waits for the node to notice the time: these periods have ended since, and no other.
	requireEnded := func(want ...quota.Bytes) {
		t.Helper()
		if len(want) > 0 {
			require.Equal(t, want, periods(recovery, len(want)))
		}
		require.Empty(t, periods(3*order.Period, -1))
	}
	expired := func() bool {
		p, err := node.Peer(s.limited.peer.PublicKey)
		require.NoError(t, err)
		return p.Expired
	}

	send()
	s.capped.counters(t) // once they rest
	first := used().Used
	setClock(t, midnight.Add(2*time.Hour))
	requireEnded(first)
	require.Zero(t, used().Used)
	require.True(t, expired())
	require.False(t, s.limited.phone.reaches(server4))

	setClock(t, midnight.Add(-6*time.Hour)) // no period is opened again
	requireEnded()
	require.False(t, expired())
	send()
	require.EqualValues(t, 1000+headers, used().Used)
	setClock(t, midnight.Add(-time.Second)) // and none ends twice
	requireEnded()
	require.EqualValues(t, 1000+headers, used().Used)

	// The next end comes while the node is down.
	s.close()
	require.NoError(t, node.Close())
	setClock(t, midnight.Add(25*time.Hour))
	for _, want := range [][]quota.Bytes{{1000 + headers}, nil} {
		node, _, err = order.start(t.Context())
		require.NoError(t, err)
		events = node.SubscribeAfter(0)
		requireEnded(want...)
		require.Zero(t, used().Used)
		require.NoError(t, node.Close())
	}
	require.NoError(t, r.Close())
}
