package wgnode

import (
	"context"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// MovePeer moves a peer to another account, which must exist; empty: out of any. Its keys, addresses, sessions, own limit and
// own cap stay, and its counters go on. What it used until then stays with the account that it leaves, and what it uses from
// then on counts with the other. Moving a peer to where it is changes nothing. Errors: [ErrNotFound], [*ValidationError] for
// an account that does not exist, [ErrNotStarted], [ErrClosed], and what the store and the dataplane return, after which all
// is as it was.
func (n *Node) MovePeer(ctx context.Context, key wgtypes.Key, account string) error {
	return n.move(ctx, "move", OfPeer(key), account)
}

// MovePeers moves all peers of an account to another, or out of any, as MovePeer does, all or none.
func (n *Node) MovePeers(ctx context.Context, from, to string) error {
	return n.move(ctx, "move peers of", OfAccount(from), to)
}

func (n *Node) move(ctx context.Context, op string, s Subject, account string) error {
	return n.edit(ctx, revision{
		op: op, subject: s, detail: "account", counts: true, reach: peersOf,
		admit:     func() error { return n.checkAccount(account) },
		unchanged: func(e entity) bool { return e.(*peer).account == account },
		edit: func(next entity, _ time.Time) error {
			p := next.(*peer)
			p.account, p.accountSuspended = account, n.inv.suspended(account)
			return nil
		},
		tell: func(before, after entity) []Event {
			p := after.(*peer)
			return []Event{{Kind: PeerMoved, Peer: p.key, Account: p.account, FormerAccount: before.(*peer).account}}
		},
	})
}
