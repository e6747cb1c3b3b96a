package desired

import (
	"bytes"
	"reflect"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// Diff returns the change that leads from the set to want, and one repair for each thing that differs. Where nothing
// differs both are empty.
func (s *Set) Diff(want wgnode.State) (wgnode.Change, []wgnode.Repair) {
	var c wgnode.Change
	var repairs []wgnode.Repair
	note := func(what, subject string) { repairs = append(repairs, wgnode.Repair{What: what, Subject: subject}) }

	if want.SpeedLimit != s.speedLimit {
		c.SpeedLimit = &want.SpeedLimit
		note("set the node's speed limit", "")
	}
	if !reflect.DeepEqual(want.Policy, s.policy) {
		c.Policy = &want.Policy
		note("set the policy", "")
	}
	accounts := make(map[string]bool, len(want.Accounts))
	for _, a := range want.Accounts {
		accounts[a.ID] = true
		old, ok := s.accounts[a.ID]
		old.Counters = a.Counters // they only seed a new account
		switch {
		case !ok:
			note("added account", a.ID)
		case old != a:
			note("changed account", a.ID)
		default:
			continue
		}
		c.SetAccounts = append(c.SetAccounts, a)
	}
	peers := make(map[wgtypes.Key]bool, len(want.Peers))
	for _, p := range want.Peers {
		peers[p.PublicKey] = true
		old, ok := s.peers.Get(p.PublicKey)
		switch {
		case !ok:
			note("added peer", p.PublicKey.String())
		case !old.state().Equal(p):
			note("changed peer", p.PublicKey.String())
		default:
			continue
		}
		c.SetPeers = append(c.SetPeers, p)
	}
	for e := range s.peers.All() {
		if !peers[e.key] {
			c.RemovePeers = append(c.RemovePeers, e.key)
		}
	}
	slices.SortFunc(c.RemovePeers, func(a, b wgtypes.Key) int { return bytes.Compare(a[:], b[:]) })
	for _, key := range c.RemovePeers {
		note("removed stray peer", key.String())
	}
	for id := range s.accounts {
		if !accounts[id] {
			c.RemoveAccounts = append(c.RemoveAccounts, id)
		}
	}
	slices.Sort(c.RemoveAccounts)
	for _, id := range c.RemoveAccounts {
		note("removed stray account", id)
	}
	return c, repairs
}
