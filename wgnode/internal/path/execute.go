package path

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// execute carries out a change in the order of its fields. What it leaves half done after an error, the inverse undoes.
func (p *Path) execute(c wgnode.Change) error {
	if c.SpeedLimit != nil {
		if err := p.setSpeedLimit(*c.SpeedLimit); err != nil {
			return fmt.Errorf("set the node's speed limit: %w", err)
		}
	}
	if c.Policy != nil {
		if err := p.setPolicy(*c.Policy); err != nil {
			return err
		}
	}
	for _, a := range c.SetAccounts {
		if err := p.setAccount(a); err != nil {
			return fmt.Errorf("set account %q: %w", a.ID, err)
		}
	}
	for _, key := range c.RemovePeers {
		p.removePeer(key)
	}
	p.vacate(c.SetPeers)
	if err := p.setPeers(c.SetPeers); err != nil {
		return err
	}
	for _, id := range c.RemoveAccounts {
		if err := p.removeAccount(id); err != nil {
			return fmt.Errorf("remove account %q: %w", id, err)
		}
	}
	return nil
}

func (p *Path) setSpeedLimit(limit shaping.Limit) error {
	if err := p.down.SetRoot(limit.Download); err != nil {
		return err
	}
	return p.up.SetRoot(limit.Upload)
}

// setPolicy compiles and installs a policy; after an error the former one stays.
func (p *Path) setPolicy(policy isolation.Policy) error {
	plan, err := isolation.Compile(policy, p.host, p.cfg.Pool)
	if err != nil {
		return fmt.Errorf("compile the policy: %w", err)
	}
	p.filter.SetPlan(plan)
	return nil
}

// SetHost replaces the addresses of the host that are closed to peers.
func (p *Path) SetHost(addrs []netip.Addr) error {
	former := p.host
	p.host = addrs
	if err := p.setPolicy(p.want.Policy()); err != nil {
		p.host = former
		return err
	}
	return nil
}

func (p *Path) setAccount(state wgnode.AccountState) error {
	a, ok := p.accounts[state.ID]
	if !ok {
		a = p.newAccount(state)
		p.mu.Lock()
		p.accounts[state.ID] = a
		p.mu.Unlock()
	}
	a.meter.SetBudget(state.Budget)
	a.rates.mu.Lock()
	defer a.rates.mu.Unlock()
	if err := a.rates.setLocked(state.SpeedLimit, state.Throttle, state.Budget.AtEnd); err != nil {
		return err
	}
	return p.setGroupLocked(a)
}

// setGroupLocked puts in force what an account's limit comes to now; its rates.mu is held.
func (p *Path) setGroupLocked(a *account) error {
	limit := a.rates.limitLocked(a.meter.Depleted())
	if err := p.down.SetGroup(a.id, limit.Download); err != nil {
		return err
	}
	return p.up.SetGroup(a.id, limit.Upload)
}

// newAccount starts with no budget, so that a meter that is used up from the start speaks only when it is in place.
func (p *Path) newAccount(state wgnode.AccountState) *account {
	a := &account{id: state.ID}
	a.meter = quota.NewMeter(state.Counters, quota.Budget{}, func(quota.Crossing) {
		a.rates.mu.Lock()
		err := p.setGroupLocked(a)
		a.rates.mu.Unlock()
		p.crossed(wgnode.DataplaneEvent{Kind: wgnode.BudgetReached, Account: a.id}, err)
	})
	return a
}

func (p *Path) removeAccount(id string) error {
	if _, ok := p.accounts[id]; !ok {
		return nil
	}
	p.mu.Lock()
	delete(p.accounts, id)
	p.mu.Unlock()
	if err := p.down.RemoveGroup(id); err != nil {
		return err
	}
	return p.up.RemoveGroup(id)
}

// vacate takes the addresses of peers that are about to get others out of the table and the filter, so that another peer
// of the same change can have them: until then nobody does.
func (p *Path) vacate(states []wgnode.PeerState) {
	for _, state := range states {
		if old, ok := p.peers.Get(state.PublicKey); ok && !slices.Equal(old.addrs, state.Addrs) {
			p.table.Delete(old.addrs)
			p.filter.RemoveSubject(old.key.String())
			old.addrs = nil
		}
	}
}

// setPeers lets no packet to a peer pass before all else about it stands.
func (p *Path) setPeers(states []wgnode.PeerState) error {
	if len(states) == 0 {
		return nil
	}
	subjects := make([]isolation.Subject, len(states))
	for i, state := range states {
		if err := p.setPeer(state); err != nil {
			return fmt.Errorf("set peer %s: %w", state.PublicKey, err)
		}
		subjects[i] = state.Subject()
	}
	members, err := p.filter.SetSubjects(subjects...)
	if err != nil {
		return err
	}
	p.table.SetAll(func(yield func([]netip.Addr, *peer) bool) {
		for i, state := range states {
			pr, _ := p.peers.Get(state.PublicKey)
			pr.member.Store(members[i])
			if !slices.Equal(pr.addrs, state.Addrs) {
				pr.addrs = state.Addrs
				if !yield(pr.addrs, pr) {
					return
				}
			}
		}
	})
	return nil
}

// setPeer puts in force what of a peer has nothing to do with its addresses.
func (p *Path) setPeer(state wgnode.PeerState) error {
	pr, ok := p.peers.Get(state.PublicKey)
	if !ok {
		pr = p.newPeer(state)
		p.mu.Lock()
		p.peers.Set(pr)
		p.mu.Unlock()
	}
	pr.account.Store(p.accounts[state.Account])
	pr.meter.SetBudget(state.Budget)
	pr.rates.mu.Lock()
	defer pr.rates.mu.Unlock()
	if err := pr.rates.setLocked(state.SpeedLimit, state.Throttle, state.Budget.AtEnd); err != nil {
		return err
	}
	return p.reshapeLocked(pr)
}

func (p *Path) newPeer(state wgnode.PeerState) *peer {
	pr := &peer{key: state.PublicKey}
	pr.meter = quota.NewMeter(state.Counters, quota.Budget{}, func(quota.Crossing) {
		p.crossed(wgnode.DataplaneEvent{Kind: wgnode.BudgetReached, Peer: pr.key}, p.reshape(pr))
	})
	return pr
}

// crossed runs on the packet that brought a counter to its mark or its limit: a throttle, which err says did not come into force,
// holds from the next packet on.
func (p *Path) crossed(event wgnode.DataplaneEvent, err error) {
	if err != nil {
		event.Err = fmt.Errorf("throttle: %w", err)
	}
	p.cfg.Notify(event)
}

func (p *Path) removePeer(key wgtypes.Key) {
	pr, ok := p.peers.Get(key)
	if !ok {
		return
	}
	pr.gone.Store(true)
	p.table.Delete(pr.addrs)
	p.mu.Lock()
	p.peers.Delete(key)
	p.mu.Unlock()
	p.filter.RemoveSubject(key.String())
	pr.rates.mu.Lock()
	defer pr.rates.mu.Unlock()
	p.removeLeavesLocked(pr)
}
