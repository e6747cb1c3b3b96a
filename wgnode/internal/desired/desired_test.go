package desired

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

func key(n byte) wgtypes.Key       { return wgtypes.Key{n} }
func addr(n byte) netip.Addr       { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }
func account(n int) string         { return []string{"", "a", "b", "c"}[n] }
func limit(n uint64) shaping.Limit { return shaping.Limit{Download: shaping.Rate(n * 1e6)} }

// drawChange draws any change over five peers, five addresses and three accounts, sound or not.
func drawChange(t *rapid.T) wgnode.Change {
	var c wgnode.Change
	if rapid.IntRange(0, 4).Draw(t, "node") == 0 {
		l := limit(rapid.Uint64Range(0, 3).Draw(t, "node limit"))
		c.SpeedLimit = &l
	}
	if rapid.IntRange(0, 4).Draw(t, "policy") == 0 {
		c.Policy = &isolation.Policy{Allow: []isolation.Rule{{Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "rule")}}}
	}
	for range rapid.IntRange(0, 2).Draw(t, "accounts set") {
		c.SetAccounts = append(c.SetAccounts, wgnode.AccountState{
			ID: account(rapid.IntRange(1, 3).Draw(t, "account")), SpeedLimit: limit(rapid.Uint64Range(0, 3).Draw(t, "limit")),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "peers removed") {
		c.RemovePeers = append(c.RemovePeers, key(rapid.ByteRange(1, 5).Draw(t, "removed")))
	}
	for range rapid.IntRange(0, 3).Draw(t, "peers set") {
		c.SetPeers = append(c.SetPeers, wgnode.PeerState{
			PublicKey:  key(rapid.ByteRange(1, 5).Draw(t, "peer")),
			Addrs:      []netip.Addr{addr(rapid.ByteRange(1, 5).Draw(t, "addr"))},
			Account:    account(rapid.IntRange(0, 3).Draw(t, "of account")),
			SpeedLimit: limit(rapid.Uint64Range(0, 3).Draw(t, "limit")),
		})
	}
	for range rapid.IntRange(0, 1).Draw(t, "accounts removed") {
		c.RemoveAccounts = append(c.RemoveAccounts, account(rapid.IntRange(1, 3).Draw(t, "account")))
	}
	return c
}

// sound checks what must hold of any state: no address twice, no account that is not there.
func sound(t require.TestingT, state wgnode.State) {
	accounts := make(map[string]int)
	for _, a := range state.Accounts {
		accounts[a.ID]++
	}
	holders := make(map[netip.Addr]int)
	for _, p := range state.Peers {
		if p.Account != "" {
			require.Equal(t, 1, accounts[p.Account], "account %q of a peer", p.Account)
		}
		for _, a := range p.Addrs {
			holders[a]++
			require.Equal(t, 1, holders[a], "holders of %s", a)
		}
	}
}

func TestChangesAndTheirInverses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		for range 20 {
			c := drawChange(t)
			before := s.State()
			if err := s.Check(c); err != nil {
				require.ErrorIs(t, err, ErrInconsistent)
				require.Equal(t, before, s.State(), "Check changed the set")
				continue
			}
			undo := s.Inverse(c)
			s.Record(c)
			after := s.State()
			sound(t, after)
			members := make(map[string]int)
			for _, p := range after.Peers {
				members[p.Account]++
			}
			for n := 1; n <= 3; n++ {
				require.Equal(t, members[account(n)], s.Members(account(n)))
			}

			require.NoError(t, s.Check(undo), "the inverse of %+v", c)
			s.Record(undo)
			require.Equal(t, before, s.State(), "undone")
			s.Record(c)
			require.Equal(t, after, s.State(), "done again")
		}
	})
}

func TestDiffLeadsFromAnyStateToAnyOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() *Set {
			s := New()
			for range 8 {
				if c := drawChange(t); s.Check(c) == nil {
					s.Record(c)
				}
			}
			return s
		}
		from, to := draw(), draw()
		c, repairs := from.Diff(to.State())
		require.NoError(t, from.Check(c))
		from.Record(c)
		require.Equal(t, to.State(), from.State())
		again, none := from.Diff(to.State())
		require.Empty(t, none, "a second diff")
		require.Equal(t, wgnode.Change{}, again)
		if len(repairs) == 0 {
			require.Equal(t, wgnode.Change{}, c, "a change without a repair")
		}
	})
}

func TestCheckNamesTheConflict(t *testing.T) {
	s := New()
	s.Record(wgnode.Change{
		SetAccounts: []wgnode.AccountState{{ID: "a"}},
		SetPeers:    []wgnode.PeerState{{PublicKey: key(1), Addrs: []netip.Addr{addr(1)}, Account: "a"}},
	})
	for name, c := range map[string]wgnode.Change{
		"10.0.0.1 belongs to":         {SetPeers: []wgnode.PeerState{{PublicKey: key(2), Addrs: []netip.Addr{addr(1)}}}},
		"is given to both":            {SetPeers: []wgnode.PeerState{{PublicKey: key(2), Addrs: []netip.Addr{addr(3)}}, {PublicKey: key(3), Addrs: []netip.Addr{addr(3)}}}},
		"is set twice":                {SetPeers: []wgnode.PeerState{{PublicKey: key(2)}, {PublicKey: key(2)}}},
		`account "b", which does not`: {SetPeers: []wgnode.PeerState{{PublicKey: key(2), Account: "b"}}},
		`account "a" still has 1`:     {RemoveAccounts: []string{"a"}},
	} {
		err := s.Check(c)
		require.ErrorIs(t, err, ErrInconsistent)
		require.ErrorContains(t, err, name)
	}
	// Two peers may trade addresses, and the last peer may leave with its account.
	require.NoError(t, s.Check(wgnode.Change{RemovePeers: []wgtypes.Key{key(1)}, RemoveAccounts: []string{"a"}}))
	require.NoError(t, s.Check(wgnode.Change{
		RemovePeers: []wgtypes.Key{key(1)},
		SetPeers:    []wgnode.PeerState{{PublicKey: key(2), Addrs: []netip.Addr{addr(1)}}},
	}))
}
