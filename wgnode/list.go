package wgnode

import (
	"iter"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// listPage is how many entries are copied at a time, so that a list of any length holds the node's lock but briefly.
const listPage = 64

// Peer returns a peer. Errors: [ErrNotFound], [ErrNotStarted], [ErrClosed].
func (n *Node) Peer(key wgtypes.Key) (Peer, error) {
	const op = "get"
	if err := n.life.check(); err != nil {
		return Peer{}, &OpError{op, OfPeer(key), err}
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	p, ok := n.inv.peers.Get(key)
	if !ok {
		return Peer{}, &OpError{op, OfPeer(key), ErrNotFound}
	}
	return p.view(), nil
}

// Account returns an account. Errors: [ErrNotFound], [ErrNotStarted], [ErrClosed].
func (n *Node) Account(id string) (Account, error) {
	const op = "get"
	if err := n.life.check(); err != nil {
		return Account{}, &OpError{op, OfAccount(abridge(id)), err}
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	a, ok := n.inv.accounts[id]
	if !ok {
		return Account{}, &OpError{op, OfAccount(abridge(id)), ErrNotFound}
	}
	return a.view(), nil
}

// Peers yields peers in the order in which they were added. The node may be changed meanwhile, also by the loop's body:
// whatever is there throughout is yielded once. The Sequence of the last one is where another list can go on. A node that
// is not running has none.
func (n *Node) Peers(opts ListOptions) iter.Seq[Peer] {
	return list(n, opts, (*peer).view, func() *ordered[*peer] {
		if opts.Account == "" {
			return &n.inv.peerOrder
		}
		if a, ok := n.inv.accounts[opts.Account]; ok {
			return a.peers
		}
		return new(ordered[*peer])
	})
}

// Accounts yields accounts as Peers does peers.
func (n *Node) Accounts(opts ListOptions) iter.Seq[Account] {
	return list(n, opts, (*account).view, func() *ordered[*account] { return &n.inv.accountOrder })
}

// list pages through entries; from is called with the node's lock held.
func list[T sequenced, V any](n *Node, opts ListOptions, view func(T) V, from func() *ordered[T]) iter.Seq[V] {
	page := func(after uint64, limit int) (views []V, last uint64) {
		n.mu.RLock()
		defer n.mu.RUnlock()
		for _, e := range from().after(after, limit) {
			views, last = append(views, view(e)), e.order()
		}
		return views, last
	}
	return func(yield func(V) bool) {
		after, left := opts.After, opts.Limit
		for n.life.check() == nil {
			size := listPage
			if opts.Limit > 0 {
				size = min(size, left)
			}
			views, last := page(after, size)
			for _, v := range views {
				if !yield(v) {
					return
				}
			}
			after, left = last, left-len(views)
			if len(views) < size || opts.Limit > 0 && left == 0 {
				return
			}
		}
	}
}
