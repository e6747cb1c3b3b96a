package crashtest

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/waylume/waylume/wgnode"
)

// Kinds of operations that somebody asks about; callers do not draw the first two.
const (
	closing   = "close"
	looking   = "look at all"
	reading   = "read usage"
	syncing   = "sync"
	toppingUp = "top up"
	limiting  = "set speed limit"
	expiring  = "set expiry"
	extending = "set grace period"
)

// kind is what there is to know of one kind of operation.
type kind struct {
	// weight is how often it is drawn; draw makes one for a shard, or none if the shard has nothing for it.
	weight int
	draw   func(*rand.Rand, *shard) (o operation, ok bool)
	// call makes it: the child's part. The rest is the model's.
	call func(context.Context, *wgnode.Node, operation) (answer, error)
	// want is the condition that it must end with in a shard at a time; nil is made.
	want func(*shard, operation, time.Time) string
	// apply is what it makes of a shard when it was made; nil is nothing.
	apply func(*shard, operation, span)
}

// operations are all kinds.
var operations = map[string]kind{
	"add peer": {weight: 10, draw: drawAddPeer, want: wantAddPeers, apply: applyAddPeers,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			added, err := n.AddPeer(ctx, o.Peers[0])
			return answer{Added: []wgnode.AddedPeer{added}}, err
		}},
	"add peers": {weight: 4, draw: drawAddPeers, want: wantAddPeers, apply: applyAddPeers,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			added, err := n.AddPeers(ctx, o.Peers)
			return answer{Added: added}, err
		}},
	"remove peer": {weight: 4, draw: drawKeys(1), want: wantPeers, apply: applyRemovePeers,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.RemovePeer(ctx, o.Keys[0])
		}},
	"remove peers": {weight: 2, draw: drawKeys(3), want: wantPeers, apply: applyRemovePeers,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.RemovePeers(ctx, o.Keys)
		}},
	"put account": {weight: 6, draw: drawPutAccount, apply: applyPutAccount,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			a, err := n.PutAccount(ctx, o.Account)
			return answer{Account: a}, err
		}},
	"remove account": {weight: 2, draw: drawAccountName, want: wantRemoveAccount,
		apply: func(s *shard, o operation, _ span) { delete(s.accounts, o.Account.ID) },
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.RemoveAccount(ctx, o.Account.ID)
		}},
	limiting: {weight: 6, draw: drawSpeedLimit, want: wantSubject, apply: applySpeedLimit,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.SetSpeedLimit(ctx, o.Subject.of(), o.Limit)
		}},
	"set data cap": {weight: 6, draw: drawDataCap, want: wantSubject,
		apply: func(s *shard, o operation, _ span) { s.capOf(o.Subject).set(o.Cap) },
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.SetDataCap(ctx, o.Subject.of(), o.Cap)
		}},
	toppingUp: {weight: 5, draw: drawTopUp, want: wantTopUp,
		apply: func(s *shard, o operation, at span) { s.capOf(o.Subject).topUp(o.Bytes, at) },
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.TopUp(ctx, o.Subject.of(), o.Bytes)
		}},
	"reset usage": {weight: 3, draw: drawSubject, want: wantSubject,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.ResetUsage(ctx, o.Subject.of())
		}},
	expiring: {weight: 4, draw: drawExpiry, want: wantExpiry, apply: applyExpiry,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.SetExpiry(ctx, o.Subject.of(), o.At)
		}},
	extending: {weight: 3, draw: drawGracePeriod, want: wantSubject, apply: applyExpiry,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.SetGracePeriod(ctx, o.Subject.of(), o.Grace)
		}},
	reading: {weight: 6, draw: drawSubject, want: wantSubject,
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			u, err := n.Usage(ctx, o.Subject.of())
			return answer{Usage: u}, err
		}},
	"set policy": {weight: 1, draw: drawPolicy, // not durable: what holds at the next start is in the configuration
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.SetPolicy(ctx, o.Policy)
		}},
	"set node speed limit": {weight: 1, draw: drawNodeLimit, // nor is this
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			return answer{}, n.SetNodeSpeedLimit(ctx, o.Limit)
		}},
	syncing: {weight: 1, draw: func(*rand.Rand, *shard) (operation, bool) { return operation{}, true },
		call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
			repairs, err := n.Sync(ctx)
			return answer{Repairs: repairs}, err
		}},
	looking: {call: func(ctx context.Context, n *wgnode.Node, o operation) (answer, error) {
		c, err := contentsOf(ctx, n)
		return answer{Contents: c}, err
	}},
}
