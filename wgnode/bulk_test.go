package wgnode

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
)

// crowd calls AddPeer for each specification at once, and waits until all but the first, whose commit it holds up, are in the
// queue. It is for a bubble of synctest.
func crowd(t *testing.T, r *rig, specs []PeerSpec) (added []AddedPeer, errs []error, commits int64) {
	t.Helper()
	added, errs = make([]AddedPeer, len(specs)), make([]error, len(specs))
	var count atomic.Int64
	first, proceed := make(chan struct{}), make(chan struct{})
	r.store.set(func([]Mutation) error {
		if count.Add(1) == 1 {
			close(first)
			<-proceed
		}
		return nil
	}, nil)
	var group sync.WaitGroup
	call := func(i int) { added[i], errs[i] = r.AddPeer(t.Context(), specs[i]) }
	group.Go(func() { call(0) })
	<-first
	for i := 1; i < len(specs); i++ {
		group.Go(func() { call(i) })
	}
	synctest.Wait()
	require.Len(t, r.arrivals.waiting, len(specs)-1)
	close(proceed)
	group.Wait()
	r.store.set(nil, nil)
	return added, errs, count.Load()
}

func TestConcurrentAddPeersShareCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		specs := make([]PeerSpec, 1000)
		for i := range specs {
			specs[i] = PeerSpec{PublicKey: newKey(t), DataCap: capOf(quota.Bytes(i + 1))}
		}
		added, errs, commits := crowd(t, r, specs)
		require.EqualValues(t, 1+(999+maxTogether-1)/maxTogether, commits)
		sequences := make(map[uint64]bool)
		for i, p := range added {
			require.NoError(t, errs[i])
			require.True(t, p.Created)
			require.Equal(t, specs[i].PublicKey, p.PublicKey)
			require.Equal(t, specs[i].DataCap, p.DataCap)
			sequences[p.Sequence] = true
		}
		require.Len(t, sequences, len(specs))
		r.sound(t)
		r.again(t).sound(t)
	})
}

// TestOneKeyAddedAtOnce has many add the same peer, and one a peer of that key that is another.
func TestOneKeyAddedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := newKey(t)
		specs := []PeerSpec{{}, {PublicKey: key}, {PublicKey: key}, {PublicKey: key, Name: "other"}}
		added, errs, _ := crowd(t, r, specs)
		require.NoError(t, errs[0])
		created, refused := 0, 0
		for i := 1; i < len(specs); i++ {
			if errs[i] != nil {
				require.ErrorIs(t, errs[i], ErrExists)
				refused++
			} else if added[i].Created {
				created++
			}
		}
		require.Equal(t, 1, created)
		require.NotZero(t, refused, "two specifications of one key cannot both hold")
		r.sound(t)
	})
}

// TestOneOfManyIsRefused has the dataplane refuse a crowd because of one of them: the others are added all the same.
func TestOneOfManyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		specs := make([]PeerSpec, 20)
		for i := range specs {
			specs[i].PublicKey = newKey(t)
		}
		bad := specs[7].PublicKey
		r.dataplane.setRefuse(func(c Change) error {
			for _, p := range c.SetPeers {
				if p.PublicKey == bad {
					return errInjected
				}
			}
			return nil
		})
		_, errs, _ := crowd(t, r, specs)
		r.dataplane.setRefuse(nil)
		for i, err := range errs {
			if i == 7 {
				require.ErrorIs(t, err, errInjected)
				continue
			}
			require.NoError(t, err)
		}
		require.Equal(t, len(specs)-1, r.inv.peers.Len())
		r.sound(t)
		r.again(t).sound(t)
	})
}

// TestWaitingToBeAdded ends the context of one that waits, and then the node.
func TestWaitingToBeAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		entered, leave := make(chan struct{}), make(chan struct{})
		r.store.set(func([]Mutation) error {
			close(entered)
			<-leave
			return nil
		}, nil)
		var group sync.WaitGroup
		group.Go(func() {
			_, err := r.AddPeer(t.Context(), PeerSpec{})
			require.NoError(t, err)
		})
		<-entered
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error)
		group.Go(func() {
			_, err := r.AddPeer(ctx, PeerSpec{})
			waiting <- err
		})
		cancel()
		require.ErrorIs(t, <-waiting, context.Canceled)
		group.Go(func() {
			_, err := r.AddPeer(t.Context(), PeerSpec{})
			waiting <- err
		})
		group.Go(func() { r.Close() })
		require.ErrorIs(t, <-waiting, ErrClosed)
		r.store.set(nil, nil)
		close(leave)
		group.Wait()
		require.Empty(t, r.arrivals.waiting)
	})
}

func TestAddPeers(t *testing.T) {
	r := startRig(t)
	there := r.add(t, PeerSpec{Name: "there"})
	specs := []PeerSpec{{PublicKey: there.PublicKey, Name: "there"}, {}, {Name: "new"}}
	added, err := r.AddPeers(t.Context(), specs)
	require.NoError(t, err)
	require.Len(t, added, 3)
	require.False(t, added[0].Created)
	require.Equal(t, there.Peer, added[0].Peer)
	require.NotEqual(t, wgtypes.Key{}, added[1].PrivateKey)
	require.Equal(t, "new", added[2].Name)
	require.Less(t, added[1].Sequence, added[2].Sequence)
	r.sound(t)

	none, err := r.AddPeers(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
	r.again(t).sound(t)
}

// TestAddManyPeers is more than one change of the dataplane, of which the last fails.
func TestAddManyPeers(t *testing.T) {
	r := startRig(t)
	specs := make([]PeerSpec, 2*maxTogether+1)
	for i := range specs {
		specs[i].PublicKey = newKey(t)
	}
	applies := 0
	r.dataplane.setRefuse(func(Change) error {
		if applies++; applies == 3 {
			return errInjected
		}
		return nil
	})
	_, err := r.AddPeers(t.Context(), specs)
	require.ErrorIs(t, err, errInjected)
	require.Zero(t, r.inv.peers.Len())
	r.sound(t)
	_, err = r.AddPeers(t.Context(), specs)
	require.NoError(t, err)
	require.Equal(t, len(specs), r.inv.peers.Len())
	r.sound(t)

	keys := make([]wgtypes.Key, len(specs))
	for i, s := range specs {
		keys[i] = s.PublicKey
	}
	require.NoError(t, r.RemovePeers(t.Context(), slices.Concat(keys, keys[:1])), "a key that comes twice counts once")
	require.Zero(t, r.inv.peers.Len())
	r.sound(t)
}

func TestBulkIsAllOrNothing(t *testing.T) {
	r := startRig(t)
	there := r.add(t, PeerSpec{Name: "there"})
	twice, fresh := newKey(t), newKey(t)
	free := spare(t, r)
	for name, test := range map[string]struct {
		specs []PeerSpec
		wrong []int
		is    error
	}{
		"invalid":          {[]PeerSpec{{}, {Account: "nobody"}, {Name: "a\x00"}}, []int{1, 2}, ErrInvalid},
		"a key twice":      {[]PeerSpec{{PublicKey: twice}, {}, {PublicKey: twice}}, []int{2}, ErrInvalid},
		"another is there": {[]PeerSpec{{PublicKey: fresh}, {PublicKey: there.PublicKey}}, []int{1}, ErrExists},
		"a taken address":  {[]PeerSpec{{PublicKey: fresh}, {Addrs: there.Addrs[:1]}}, []int{1}, ipam.ErrTaken},
		"an address twice": {[]PeerSpec{{PublicKey: fresh, Addrs: free}, {Addrs: free}}, []int{1}, ipam.ErrTaken},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.AddPeers(t.Context(), test.specs)
			var bulk *BulkError
			require.ErrorAs(t, err, &bulk)
			require.ErrorIs(t, err, test.is)
			var wrong []int
			for _, item := range bulk.Items {
				wrong = append(wrong, item.Index)
			}
			require.Equal(t, test.wrong, wrong)
			require.Equal(t, 1, r.inv.peers.Len())
			r.sound(t)
		})
	}
	err := r.RemovePeers(t.Context(), []wgtypes.Key{there.PublicKey, fresh})
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "nothing was done: item 1: wgnode: remove peer "+fresh.String())
	require.Equal(t, 1, r.inv.peers.Len())
	require.NoError(t, r.RemovePeers(t.Context(), nil))
	r.sound(t)
}

// spare returns an address of the pool that nobody has.
func spare(t *testing.T, r *rig) []netip.Addr {
	t.Helper()
	addr, err := r.up.pool.Lease(ipam.IPv4)
	require.NoError(t, err)
	require.NoError(t, r.up.pool.Discard(addr))
	return []netip.Addr{addr}
}
