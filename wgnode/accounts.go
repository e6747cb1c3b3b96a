package wgnode

import (
	"context"
	"maps"
	"time"
)

// PutAccount creates an account, or makes one that exists what spec says; usage that was counted stays. Putting what is
// already so changes nothing. Errors: [*ValidationError], [ErrNotStarted], [ErrClosed], and what the store and the
// dataplane return, after which the account is as it was.
func (n *Node) PutAccount(ctx context.Context, spec AccountSpec) (Account, error) {
	a, err := n.putAccount(ctx, spec.clone())
	if err != nil {
		return Account{}, &OpError{"put", OfAccount(abridge(spec.ID)), err}
	}
	return a, nil
}

func (n *Node) putAccount(ctx context.Context, spec AccountSpec) (Account, error) {
	release, err := n.acquire(ctx)
	if err != nil {
		return Account{}, err
	}
	defer release()

	if err := spec.validate(); err != nil {
		return Account{}, err
	}
	a, ok := n.inv.accounts[spec.ID]
	switch {
	case !ok:
		a, err = n.createAccount(ctx, spec)
	case !a.matches(spec):
		err = n.revise(ctx, a, revision{
			detail: "specification", counts: true,
			edit: func(next *core, now time.Time) error {
				next.labels, next.speedLimit = spec.Labels, spec.SpeedLimit
				return next.setCap(spec.DataCap, now)
			},
		})
	}
	if err != nil {
		return Account{}, err
	}
	return a.view(), nil
}

func (n *Node) createAccount(ctx context.Context, spec AccountSpec) (*account, error) {
	core, err := newCore(OfAccount(spec.ID), n.inv.sequence+1, spec.DataCap, time.Now())
	if err != nil {
		return nil, err
	}
	core.labels, core.speedLimit = spec.Labels, spec.SpeedLimit
	a := &account{core: core, id: spec.ID, peers: new(ordered[*peer])}

	insertion, deletion, err := insertionOf(a)
	if err != nil {
		return nil, err
	}
	change := Change{}
	a.addTo(&change)
	err = n.perform(ctx, n.stored(insertion, deletion), n.applied(change, Change{RemoveAccounts: []string{a.id}}))
	if err != nil {
		return nil, err
	}
	a.applied = a.ledger.Budget()
	n.settle(func(inv *inventory) { inv.addAccount(a) })
	n.log.Debug("account added", "account", a.id)
	n.events.publish(Event{Kind: AccountAdded, Account: a.id})
	return a, nil
}

// RemoveAccount removes an account that has no peers; one that has is [ErrAccountInUse], one that is not there
// [ErrNotFound]. What it used is forgotten.
func (n *Node) RemoveAccount(ctx context.Context, id string) error {
	if err := n.removeAccount(ctx, id); err != nil {
		return &OpError{"remove", OfAccount(abridge(id)), err}
	}
	return nil
}

func (n *Node) removeAccount(ctx context.Context, id string) error {
	release, err := n.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()

	a, ok := n.inv.accounts[id]
	switch {
	case !ok:
		return ErrNotFound
	case a.peers.len() > 0:
		return ErrAccountInUse
	}
	if _, err := n.read(ctx, queryOf(a)); err != nil {
		n.log.Warn("counters of a leaving account not read", "account", id, "error", err)
	}
	deletion, insertion, err := removalOf(a)
	if err != nil {
		return err
	}
	restoration := Change{}
	a.addTo(&restoration)
	err = n.perform(ctx, n.applied(Change{RemoveAccounts: []string{id}}, restoration), n.stored(deletion, insertion))
	if err != nil {
		return err
	}
	n.settle(func(inv *inventory) { inv.removeAccount(a) })
	n.log.Debug("account removed", "account", id)
	n.events.publish(Event{Kind: AccountRemoved, Account: id, Counters: a.counters})
	return nil
}

func (s AccountSpec) clone() AccountSpec {
	s.Labels = maps.Clone(s.Labels)
	s.DataCap = s.DataCap.Clone()
	return s
}

func (s AccountSpec) validate() error {
	var p problems
	p.text("ID", s.ID, 1, MaxNameLen)
	p.labels(s.Labels)
	p.check("SpeedLimit", s.SpeedLimit.Validate())
	p.dataCap("DataCap", s.DataCap)
	return p.err("account")
}
