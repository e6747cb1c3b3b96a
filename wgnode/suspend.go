package wgnode

import (
	"context"
	"time"
)

// Suspend closes a peer, or all peers of an account: nothing of them passes any more, not even a handshake. They keep their
// addresses, what they used, and the periods of their data caps, which go on, as does their expiry. A suspended peer may be
// changed, and its changes hold when it is resumed. An account's suspension is its own: it holds for peers that are added to
// it or moved there, and not for one that is moved away; a peer that was suspended by itself stays so when its account is
// resumed. It lasts until Resume, restarts of the node included. Suspending what is suspended changes nothing. Errors:
// [ErrNotFound], [ErrNotStarted], [ErrClosed], and what the store and the dataplane return, after which all is as it was, but
// that a peer may have to shake hands anew.
func (n *Node) Suspend(ctx context.Context, s Subject) error {
	return n.setSuspended(ctx, "suspend", s, true)
}

// Resume ends what Suspend began. Resuming what is not suspended changes nothing. Errors as for Suspend.
func (n *Node) Resume(ctx context.Context, s Subject) error {
	return n.setSuspended(ctx, "resume", s, false)
}

func (n *Node) setSuspended(ctx context.Context, op string, s Subject, on bool) error {
	// An account's flag is the account's, and is noted with its peers.
	flag := func(e entity) *bool {
		if e.subject() != s {
			return &e.common().accountSuspended
		}
		return &e.common().suspended
	}
	return n.edit(ctx, revision{
		op: op, subject: s, detail: op, counts: true,
		reach:     func(e entity) []entity { return append([]entity{e}, membersOf(e)...) },
		unchanged: func(e entity) bool { return *flag(e) == on },
		edit: func(next entity, _ time.Time) error {
			*flag(next) = on
			return nil
		},
		tell: func(before, _ entity) []Event {
			if before.subject() != s {
				return nil
			}
			return []Event{suspension(s, on)}
		},
	})
}

func suspension(s Subject, on bool) Event {
	_, peer := s.Peer()
	kind := AccountResumed
	switch {
	case peer && on:
		kind = PeerSuspended
	case peer:
		kind = PeerResumed
	case on:
		kind = AccountSuspended
	}
	return Event{Kind: kind}.of(s)
}

// membersOf are the peers of an account; a peer has none.
func membersOf(e entity) []entity {
	a, ok := e.(*account)
	if !ok {
		return nil
	}
	members := make([]entity, a.peers.len())
	for i, p := range a.peers.entries {
		members[i] = p
	}
	return members
}

// peersOf is a peer itself, or an account's peers.
func peersOf(e entity) []entity {
	if p, ok := e.(*peer); ok {
		return []entity{p}
	}
	return membersOf(e)
}
