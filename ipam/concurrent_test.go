package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

// TestConcurrent has many goroutines lease and release in a crowded pool: no address has two holders at a time.
func TestConcurrent(t *testing.T) {
	const workers, rounds = 8, 300
	pool, err := ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/27 fd00::/64"), Quarantine: ipam.NoQuarantine})
	require.NoError(t, err)
	var holders sync.Map
	var leased, exhausted atomic.Int64
	hold := func(a netip.Addr, err error, worker int) error {
		switch {
		case errors.Is(err, ipam.ErrExhausted), errors.Is(err, ipam.ErrTaken):
			exhausted.Add(1)
			return nil
		case err != nil:
			return err
		}
		leased.Add(1)
		if other, held := holders.LoadOrStore(a, worker); held {
			return fmt.Errorf("%d and %v hold %s", worker, other, a)
		}
		return nil
	}
	work := func(worker int) error {
		key := []byte{byte(worker)}
		outlying := netip.MustParseAddr("fd00::1:0:0:1")
		for i := range rounds {
			for _, f := range pool.Families() {
				a, err := pool.Lease(f)
				b, errFor := pool.LeaseFor(f, key)
				if err := errors.Join(hold(a, err, worker), hold(b, errFor, worker)); err != nil {
					return err
				}
			}
			if err := hold(outlying, pool.LeaseAddr(outlying), worker); err != nil {
				return err
			}
			if i%16 != 0 {
				pool.Stats()
				continue
			}
			for a := range pool.Leases() {
				if !holders.CompareAndDelete(a, worker) {
					continue
				}
				if err := pool.Release(a); err != nil {
					return err
				}
			}
			if s := pool.Snapshot(); s.IsZero() {
				return errors.New("snapshot is empty")
			}
		}
		return nil
	}
	failures := make(chan error, workers)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() { failures <- work(worker) })
	}
	wg.Wait()
	for range workers {
		require.NoError(t, <-failures)
	}
	require.NoError(t, pool.Check())
	require.Positive(t, leased.Load())
	require.Positive(t, exhausted.Load(), "the pool was never crowded")
	held := 0
	for a := range pool.Leases() {
		_, known := holders.Load(a)
		require.True(t, known, "%s is leased to nobody", a)
		held++
	}
	holders.Range(func(any, any) bool { held--; return true })
	require.Zero(t, held)
}

// TestRestoreWhileUsed: a call finds the pool before or after a Restore, never in between.
func TestRestoreWhileUsed(t *testing.T) {
	pool, err := ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/22"), Quarantine: ipam.NoQuarantine})
	require.NoError(t, err)
	empty := pool.Snapshot()
	for range 500 {
		_, err := pool.Lease(ipam.IPv4)
		require.NoError(t, err)
	}
	half := pool.Snapshot()
	stop := make(chan struct{})
	failure := make(chan error, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for range 50 {
			if err := errors.Join(pool.Restore(empty), pool.Restore(half)); err != nil {
				failure <- err
				return
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s := pool.Stats()[0]; s.Leased != 0 && s.Leased != 500 {
				failure <- fmt.Errorf("%d are leased", s.Leased)
				return
			}
		}
	})
	wg.Wait()
	select {
	case err := <-failure:
		t.Fatal(err)
	default:
	}
}

// TestLeasesWhileChanged: the loop over the leases may change them.
func TestLeasesWhileChanged(t *testing.T) {
	pool, err := ipam.New(ipam.Config{})
	require.NoError(t, err)
	for range 100 {
		for _, f := range pool.Families() {
			_, err := pool.Lease(f)
			require.NoError(t, err)
		}
	}
	require.NoError(t, pool.LeaseAddr(netip.MustParseAddr("fd77:6179:6c75:6d65:7::1")))
	seen := 0
	for a := range pool.Leases() {
		seen++
		require.NoError(t, pool.Release(a))
	}
	require.Equal(t, 201, seen)
	for range pool.Leases() {
		t.Fatal("there is a lease")
	}
	require.NoError(t, pool.LeaseAddr(netip.MustParseAddr("10.0.0.200")))
	require.NoError(t, pool.LeaseAddr(netip.MustParseAddr("fd77:6179:6c75:6d65:7::2")))
	for range pool.Leases() {
		break
	}
}
