package path

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// TestLeavesRest follows a peer's leaves: its first packet makes them, two sweeps in which it is idle take them away, the next
// packet makes them anew, and all the while its limit holds.
func TestLeavesRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(t)
		one := testPeer(2)
		one.SpeedLimit = shaping.Limit{Download: 800_000, Upload: 800_000} // 100 kB/s
		require.NoError(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}))
		made := func() bool {
			_, down := s.down.Leaf(one.PublicKey.String())
			_, up := s.up.Leaf(one.PublicKey.String())
			require.Equal(t, down, up)
			return up
		}
		require.False(t, made(), "nothing of a peer that moves no packet")

		burst := func() (passed int) {
			for range 100 {
				s.FromPeer([][]byte{udp(one.Addrs[0], web, 1000)}, 0)
			}
			_, toNet, _ := s.caught()
			return len(toNet)
		}
		first := burst()
		require.Less(t, first, 100, "the limit holds")
		s.Sweep()
		s.Sweep()
		require.True(t, made(), "a peer with a queue keeps its leaves")

		time.Sleep(10 * time.Second)
		s.caught()
		s.Sweep()
		require.True(t, made(), "who looked a leaf up before the sweep may use it still")
		require.Equal(t, first, burst(), "back from aside")
		time.Sleep(10 * time.Second)
		s.caught()
		s.Sweep()
		s.Sweep()
		require.False(t, made())
		require.Empty(t, s.shaped.all)
		require.Equal(t, first, burst(), "made anew")

		require.NoError(t, s.Apply(wgnode.Change{RemovePeers: []wgtypes.Key{one.PublicKey}}))
		require.False(t, made())
		require.Empty(t, s.shaped.all)
	})
}

// TestLeavesAsideFollowTheirAccount has a peer change account, and the former account go, while its leaves are aside.
func TestLeavesAsideFollowTheirAccount(t *testing.T) {
	s := newSink(t)
	one := testPeer(2)
	one.Account = "acme"
	require.NoError(t, s.Apply(wgnode.Change{SetAccounts: []wgnode.AccountState{{ID: "acme"}}, SetPeers: []wgnode.PeerState{one}}))
	s.FromPeer([][]byte{udp(one.Addrs[0], web, 1000)}, 0)
	s.Sweep()
	one.Account = "other"
	require.NoError(t, s.Apply(wgnode.Change{
		SetAccounts:    []wgnode.AccountState{{ID: "other", SpeedLimit: shaping.Limit{Upload: 8000}}},
		SetPeers:       []wgnode.PeerState{one},
		RemoveAccounts: []string{"acme"},
	}))
	require.Equal(t, "other", s.up.Hierarchy().Leaves[one.PublicKey.String()].Group)
	require.False(t, s.leavesOf(s.peer(one.PublicKey)).up.Unshaped())
}

func TestLimitOutOfRangeIsRefusedBeforeAnyPacket(t *testing.T) {
	s := newSink(t)
	one := testPeer(2)
	one.SpeedLimit.Upload = shaping.MaxRate + 1
	require.ErrorIs(t, s.Apply(wgnode.Change{SetPeers: []wgnode.PeerState{one}}), shaping.ErrRateRange)
	require.Zero(t, s.peers.Len())
}
