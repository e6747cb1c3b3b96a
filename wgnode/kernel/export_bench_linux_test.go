package kernel

import (
	"net/netip"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping/htb"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// Classes are the figures of the tree of a dataplane that runs.
func (dp *Dataplane) Classes() htb.Stats {
	dp.turn <- struct{}{}
	defer dp.leave()
	return dp.tree.Stats()
}

// Reserve is how many free classes are made beside few peers.
const Reserve = reserve

// Ruleset is what the tables of a dataplane hold of peers, each in its class, for links that somebody else made.
func Ruleset(cfg Config, ifb link.Link, pool []netip.Prefix, peers []wgnode.PeerState, classes []htb.Class) (nft.Ruleset, error) {
	plan, err := isolation.Compile(isolation.Policy{}, nil, pool)
	if err != nil {
		return nil, err
	}
	dp := &Dataplane{cfg: cfg, fixed: wgnode.DataplaneConfig{Pool: pool}, ifb: ifb}
	r := newRecords()
	for i, state := range peers {
		m := meter{name: peerName(state.PublicKey)}
		r.setPeer(state.PublicKey, &peer{state: state, class: classes[i], meter: m.with(state.Budget, quota.Counters{})})
	}
	return dp.want(rules.NewPolicy(plan), r), nil
}
