package httpapi

import (
	"context"
	"errors"
	"strconv"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// drawKey returns a private key for the i-th peer of a request that brings none: one that follows from the request's idempotency key,
// so that the request can run again, by a node that was killed within it, and find what it made. Not ok: the request has none, and the
// node draws a key.
func drawKey(ctx context.Context, i int) (key wgtypes.Key, ok bool) {
	derived, ok := idempotency.Derive(ctx, "private key "+strconv.Itoa(i))
	if !ok {
		return wgtypes.Key{}, false
	}
	key = wgtypes.Key(derived)
	key[0] &= 248 // RFC 7748, section 5
	key[31] = key[31]&127 | 64
	return key, true
}

// complete gives specifications without keys those that can be drawn again, and returns the private ones; zero: the node draws it, or
// the peer has it.
func complete(ctx context.Context, specs []wgnode.PeerSpec) []wgtypes.Key {
	private := make([]wgtypes.Key, len(specs))
	for i := range specs {
		if specs[i].PublicKey != (wgtypes.Key{}) {
			continue
		}
		if key, ok := drawKey(ctx, i); ok {
			private[i], specs[i].PublicKey = key, key.PublicKey()
		}
	}
	return private
}

// took adjusts what the node says of a peer that was added: the request made it, perhaps when it was begun before, and knows its key.
func took(ctx context.Context, added wgnode.AddedPeer, private wgtypes.Key) wgnode.AddedPeer {
	if private != (wgtypes.Key{}) {
		added.PrivateKey = private
	}
	added.Created = added.Created || idempotency.Interrupted(ctx)
	audit.AddSubject(ctx, subjectOf(wgnode.OfPeer(added.PublicKey)))
	return added
}

// gone has what is not there any more be a success for a request that was begun before, and may have removed it.
func gone(ctx context.Context, err error) error {
	p, refused := errors.AsType[*problem.Problem](err)
	missing := errors.Is(err, wgnode.ErrNotFound) || refused && p.Type == problem.NotFound
	if missing && idempotency.Interrupted(ctx) {
		return nil
	}
	return err
}

// hold has nobody else change a peer or an account, and names it in the log of changes.
func (a *API) hold(ctx context.Context, s wgnode.Subject) (release func(), err error) {
	audit.AddSubject(ctx, subjectOf(s))
	return a.locks.of(ctx, s)
}

func subjectOf(s wgnode.Subject) audit.Subject {
	if key, ok := s.Peer(); ok {
		return audit.Subject{Kind: "peer", ID: key.String()}
	}
	id, _ := s.Account()
	return audit.Subject{Kind: "account", ID: id}
}
