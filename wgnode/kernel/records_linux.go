package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/shaping/htb"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// peer is what the dataplane holds of a peer. It is never changed: a change makes another one.
type peer struct {
	state wgnode.PeerState
	meter meter
	class htb.Class // 0: not shaped
	group htb.Class // the class above; 0: the root
}

// account is what the dataplane holds of an account. It is never changed.
type account struct {
	state wgnode.AccountState
	meter meter
	group htb.Class // 0: the account has no limit, and so no class
}

// records are all that the dataplane holds.
type records struct {
	peers    map[wgtypes.Key]*peer
	accounts map[string]*account
	// subjects finds who a kernel object belongs to.
	subjects map[string]subject
	members  map[string]map[wgtypes.Key]bool
}

// subject names a peer or an account.
type subject struct {
	key     wgtypes.Key
	account string // empty for a peer
}

func newRecords() *records {
	return &records{
		peers: make(map[wgtypes.Key]*peer), accounts: make(map[string]*account), subjects: make(map[string]subject),
		members: make(map[string]map[wgtypes.Key]bool),
	}
}

// setPeer replaces a peer's record; nil removes it.
func (r *records) setPeer(key wgtypes.Key, p *peer) {
	if old := r.peers[key]; old != nil && old.state.Account != "" {
		delete(r.members[old.state.Account], key)
		if len(r.members[old.state.Account]) == 0 {
			delete(r.members, old.state.Account)
		}
	}
	if p == nil {
		delete(r.peers, key)
		delete(r.subjects, peerName(key))
		return
	}
	r.peers[key] = p
	r.subjects[peerName(key)] = subject{key: key}
	if id := p.state.Account; id != "" {
		if r.members[id] == nil {
			r.members[id] = make(map[wgtypes.Key]bool)
		}
		r.members[id][key] = true
	}
}

func (r *records) setAccount(id string, a *account) {
	if a == nil {
		delete(r.accounts, id)
		delete(r.subjects, accountName(id))
		return
	}
	r.accounts[id] = a
	r.subjects[accountName(id)] = subject{account: id}
}

// quotas calls yield for each quota that says something when it is used up.
func (r *records) quotas(yield func(m *meter, object string)) {
	of := func(m *meter) {
		if m.limit.name != "" && !m.depleted {
			yield(m, m.limit.name)
		}
		if m.watch.name != "" {
			yield(m, m.watch.name)
		}
	}
	for _, p := range r.peers {
		of(&p.meter)
	}
	for _, a := range r.accounts {
		of(&a.meter)
	}
}

// meter is a subject's.
func (r *records) meter(who subject) *meter {
	if who.account != "" {
		return &r.accounts[who.account].meter
	}
	return &r.peers[who.key].meter
}

// tablesPeer is a peer as the tables see it.
func (r *records) tablesPeer(p *peer) rules.Peer {
	out := rules.Peer{
		Subject: p.state.Subject(), Class: classID(p.class), Blocked: p.meter.blocked(), Objects: p.meter.tablesObjects(),
	}
	if a := r.accounts[p.state.Account]; a != nil {
		out.Blocked = out.Blocked || a.meter.blocked()
		out.Account = a.meter.tablesObjects()
	}
	return out
}

// classID is a class as packets carry it in skb->priority.
func classID(c htb.Class) uint32 {
	if c == 0 {
		return 0
	}
	return 1<<16 | uint32(c)
}

// grouped reports whether an account needs a class of its own: for a limit, or for the one that its cap may end in.
func grouped(a wgnode.AccountState) bool {
	return a.SpeedLimit != (shaping.Limit{}) || a.Budget.Limited && a.Budget.AtEnd == quota.Throttle && a.Throttle != (shaping.Limit{})
}

// shaped reports whether a peer needs a class.
func shaped(node shaping.Limit, p wgnode.PeerState, group htb.Class) bool {
	return node != (shaping.Limit{}) || group != 0 || p.SpeedLimit != (shaping.Limit{}) ||
		p.Budget.Limited && p.Budget.AtEnd == quota.Throttle && p.Throttle != (shaping.Limit{})
}

// device is a peer as the WireGuard device is told of it.
func (p *peer) device() wgdev.Peer {
	d := wgdev.Peer{PublicKey: p.state.PublicKey, PresharedKey: p.state.PresharedKey, Keepalive: p.state.Keepalive}
	for _, addr := range p.state.Addrs {
		d.AllowedIPs = append(d.AllowedIPs, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return d
}

// classes puts an account's and its peers' limits in force. Each step notes how to undo it.
type classes struct {
	tree *htb.Tree
	node shaping.Limit
	undo []func(context.Context) error
	// free are classes that are given back when all else was done.
	free []htb.Class
}

// group gives an account the class that it needs.
func (c *classes) group(ctx context.Context, old, next *account) error {
	limit := effective(next.state.SpeedLimit, next.state.Throttle, &next.meter)
	switch {
	case !grouped(next.state):
		if old != nil && old.group != 0 {
			c.free = append(c.free, old.group)
		}
		next.group = 0
		return nil
	case old != nil && old.group != 0:
		next.group = old.group
		return c.change(ctx, old.group, effective(old.state.SpeedLimit, old.state.Throttle, &old.meter), limit)
	}
	var class htb.Class
	if err := traced(ctx, "htb class", 1, func(ctx context.Context) (err error) {
		class, err = c.tree.ClaimGroup(ctx, limit, 0)
		return err
	}); err != nil {
		return err
	}
	next.group = class
	c.undo = append(c.undo, func(context.Context) error { return c.tree.Release(class) })
	return nil
}

func (c *classes) change(ctx context.Context, class htb.Class, from, to shaping.Limit) error {
	if from == to {
		return nil
	}
	set := func(ctx context.Context, limit shaping.Limit) error {
		return traced(ctx, "htb class", 1, func(ctx context.Context) error { return c.tree.Change(ctx, class, limit) })
	}
	if err := set(ctx, to); err != nil {
		return err
	}
	c.undo = append(c.undo, func(ctx context.Context) error { return set(ctx, from) })
	return nil
}

// leaf gives a peer the class that it needs, under its account's. The old one is given back at the end.
func (c *classes) leaf(ctx context.Context, old, next *peer) error {
	limit := effective(next.state.SpeedLimit, next.state.Throttle, &next.meter)
	if !shaped(c.node, next.state, next.group) {
		if old != nil && old.class != 0 {
			c.free = append(c.free, old.class)
		}
		next.class = 0
		return nil
	}
	if old != nil && old.class != 0 {
		if old.group == next.group {
			next.class = old.class
			return c.change(ctx, old.class, effective(old.state.SpeedLimit, old.state.Throttle, &old.meter), limit)
		}
		c.free = append(c.free, old.class)
	}
	var class htb.Class
	if err := traced(ctx, "htb class", 1, func(ctx context.Context) (err error) {
		class, err = c.tree.Claim(ctx, next.group, limit)
		return err
	}); err != nil {
		return fmt.Errorf("shape peer %s: %w", next.state.PublicKey, err)
	}
	next.class = class
	c.undo = append(c.undo, func(context.Context) error { return c.tree.Release(class) })
	return nil
}

// settle gives back what is not used any more: leaves before their groups, which were noted first.
func (c *classes) settle() error {
	var errs []error
	for i := range c.free {
		errs = append(errs, c.tree.Release(c.free[len(c.free)-1-i]))
	}
	return errors.Join(errs...)
}

// rollback undoes the steps in reverse.
func (c *classes) rollback(ctx context.Context) error {
	var errs []error
	for i := range c.undo {
		errs = append(errs, c.undo[len(c.undo)-1-i](ctx))
	}
	return errors.Join(errs...)
}

// want is all that the tables are to hold.
func (dp *Dataplane) want(policy *rules.Policy, r *records) nft.Ruleset {
	set := rules.Layout(dp.rulesConfig(policy))
	for _, content := range set {
		content.Room = len(r.peers)
	}
	inet, _ := rules.Tables(dp.cfg.Interface)
	for _, p := range r.peers {
		policy.Elements(dp.cfg.Interface, r.tablesPeer(p), func(at rules.Place, value nft.Value) {
			set[at.Table].Add(at.Set.Name, at.Key, value)
		})
		p.meter.objects(set[inet].Objects)
	}
	for _, a := range r.accounts {
		a.meter.objects(set[inet].Objects)
	}
	return set
}
