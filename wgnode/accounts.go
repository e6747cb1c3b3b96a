package wgnode

import (
	"context"
	"maps"
	"slices"
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

func (n *Node) putAccount(ctx context.Context, spec AccountSpec) (_ Account, err error) {
	ctx, end := n.trace(ctx, "put account", OfAccount(spec.ID), 1)
	defer func() { end(err) }()
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
		err = n.revise(ctx, revision{
			detail: "specification", counts: true,
			edit: func(next entity, now time.Time) error {
				c := next.common()
				c.labels, c.speedLimit = spec.Labels, spec.SpeedLimit
				return c.setCap(spec.DataCap, now)
			},
		}, a)
	}
	if err != nil {
		return Account{}, err
	}
	return a.view(), nil
}

func (n *Node) createAccount(ctx context.Context, spec AccountSpec) (*account, error) {
	core, err := newCore(n.inv.sequence+1, spec.DataCap, time.Now())
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
	if err := n.removeAccount(ctx, id, false); err != nil {
		return &OpError{"remove", OfAccount(abridge(id)), err}
	}
	return nil
}

// RemoveAccountAndPeers removes an account with all its peers, as RemovePeer and RemoveAccount do, all or nothing.
func (n *Node) RemoveAccountAndPeers(ctx context.Context, id string) error {
	if err := n.removeAccount(ctx, id, true); err != nil {
		return &OpError{"remove with its peers", OfAccount(abridge(id)), err}
	}
	return nil
}

func (n *Node) removeAccount(ctx context.Context, id string, andPeers bool) (err error) {
	ctx, end := n.trace(ctx, "remove account", OfAccount(id), 1)
	defer func() { end(err) }()
	release, err := n.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()

	a, ok := n.inv.accounts[id]
	switch {
	case !ok:
		return ErrNotFound
	case a.peers.len() > 0 && !andPeers:
		return ErrAccountInUse
	}
	return n.uninstall(ctx, RemovalRequested, slices.Clone(a.peers.entries), a)
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
