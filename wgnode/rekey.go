package wgnode

import (
	"context"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// PeerKeys are the keys that a peer shall have.
type PeerKeys struct {
	// PublicKey is as in PeerSpec: zero has the node make a key pair. The key that the peer has may be given, to change the
	// preshared key alone.
	PublicKey wgtypes.Key
	// PresharedKey is mixed into the handshake; zero: none. Nil: it stays as it is.
	PresharedKey *wgtypes.Key
}

// RekeyedPeer is a peer that was given another key.
type RekeyedPeer struct {
	Peer
	// FormerKey is the public key that it had before.
	FormerKey wgtypes.Key
	// PrivateKey is set when the node made the key pair. The node does not keep it.
	PrivateKey wgtypes.Key
}

// RekeyPeer gives a peer other keys in place: its addresses, account, limits, cap, usage, labels and sequence stay. The
// former key cannot connect any more from the moment the new one can. Asking again with the same keys is a success that
// changes nothing, unless the node was to make the key: then the peer is not found under its former one. Errors:
// [ErrNotFound], [*ValidationError] as for AddPeer, [ErrExists] for a key that is another peer's, [ErrNotStarted],
// [ErrClosed], and what the store and the dataplane return, after which all is as it was, but that the peer may have to shake
// hands anew.
func (n *Node) RekeyPeer(ctx context.Context, key wgtypes.Key, keys PeerKeys) (RekeyedPeer, error) {
	p, err := n.rekeyPeer(ctx, key, keys)
	if err != nil {
		return RekeyedPeer{}, &OpError{"rekey", OfPeer(key), err}
	}
	return p, nil
}

func (n *Node) rekeyPeer(ctx context.Context, key wgtypes.Key, keys PeerKeys) (_ RekeyedPeer, err error) {
	ctx, end := n.trace(ctx, "rekey peer", OfPeer(key), 1)
	defer func() { end(err) }()
	if err := n.life.check(); err != nil {
		return RekeyedPeer{}, err
	}
	if err := n.checkKeys(keys); err != nil {
		return RekeyedPeer{}, err
	}
	pair, err := keys.pair()
	if err != nil {
		return RekeyedPeer{}, err
	}
	release, err := n.acquire(ctx)
	if err != nil {
		return RekeyedPeer{}, err
	}
	defer release()

	if n.up.owns(pair.public) {
		return RekeyedPeer{}, n.checkKeys(keys) // it became the node's meanwhile
	}
	p, ok := n.inv.peers.Get(key)
	other, taken := n.inv.peers.Get(pair.public)
	switch {
	case !ok && taken && keyOf(other.formerKey) == key && keys.presharedBy(other):
		return RekeyedPeer{Peer: other.view(), FormerKey: key}, nil
	case !ok:
		return RekeyedPeer{}, ErrNotFound
	case taken && other != p:
		return RekeyedPeer{}, ErrExists
	case taken && keys.presharedBy(p):
		return RekeyedPeer{Peer: p.view(), FormerKey: key}, nil
	}
	err = n.rekey(ctx, map[wgtypes.Key]keyPair{key: pair}, p)
	return RekeyedPeer{Peer: p.view(), FormerKey: key, PrivateKey: pair.private}, err
}

func (n *Node) checkKeys(keys PeerKeys) error {
	var p problems
	p.publicKey(keys.PublicKey, n.session())
	return p.err("keys")
}

// RekeyAccount gives each peer of an account a new key, which the node makes, all or none. Preshared keys stay. The result is
// in the order in which the peers were added. Errors as for RekeyPeer.
func (n *Node) RekeyAccount(ctx context.Context, id string) ([]RekeyedPeer, error) {
	rekeyed, err := n.rekeyAccount(ctx, id)
	if err != nil {
		return nil, &OpError{"rekey peers of", OfAccount(abridge(id)), err}
	}
	return rekeyed, nil
}

func (n *Node) rekeyAccount(ctx context.Context, id string) (_ []RekeyedPeer, err error) {
	ctx, end := n.trace(ctx, "rekey peers", OfAccount(id), 0)
	defer func() { end(err) }()
	release, err := n.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	a, ok := n.inv.accounts[id]
	if !ok {
		return nil, ErrNotFound
	}
	rekeyed := make([]RekeyedPeer, a.peers.len())
	pairs := make(map[wgtypes.Key]keyPair, len(rekeyed))
	for i, p := range a.peers.entries {
		pair, err := PeerKeys{}.pair()
		if err != nil {
			return nil, err
		}
		pairs[p.key] = pair
		rekeyed[i].FormerKey, rekeyed[i].PrivateKey = p.key, pair.private
	}
	if err := n.rekey(ctx, pairs, a.peers.entries...); err != nil {
		return nil, err
	}
	for i, p := range a.peers.entries {
		rekeyed[i].Peer = p.view()
	}
	return rekeyed, nil
}

// keyPair is what takes the place of a key.
type keyPair struct {
	public    wgtypes.Key
	private   wgtypes.Key  // zero: the node does not know it
	preshared *wgtypes.Key // nil: as it is
}

// pair makes what the node is to make.
func (k PeerKeys) pair() (keyPair, error) {
	pair := keyPair{public: k.PublicKey, preshared: k.PresharedKey}
	if k.PublicKey != (wgtypes.Key{}) {
		return pair, nil
	}
	var err error
	pair.private, err = wgtypes.GeneratePrivateKey()
	pair.public = pair.private.PublicKey()
	return pair, err
}

// presharedBy reports whether the peer has the preshared key that is asked for.
func (k PeerKeys) presharedBy(p *peer) bool {
	return k.PresharedKey == nil || *k.PresharedKey == keyOf(p.presharedKey)
}

// rekey gives peers the keys that take the place of theirs. The caller holds the slot.
func (n *Node) rekey(ctx context.Context, pairs map[wgtypes.Key]keyPair, peers ...*peer) error {
	return n.revise(ctx, revision{
		detail: "keys", counts: true,
		edit: func(next entity, now time.Time) error {
			p := next.(*peer)
			pair := pairs[p.key]
			if pair.preshared != nil {
				p.presharedKey = optional(*pair.preshared)
			}
			if pair.public != p.key {
				p.changeKey(pair.public)
				p.connection, p.watchedSince = nil, 0
				// Whoever has the new key has not had the time to use it.
				p.seen, p.handshake = n.inv.running(now), 0
			}
			return nil
		},
		tell: func(before, after entity) []Event {
			p, former := after.(*peer), before.(*peer).key
			if p.key == former {
				return []Event{changed(p, "preshared key")}
			}
			return []Event{{Kind: PeerRekeyed, Peer: p.key, FormerPeer: former, Account: p.account}}
		},
	}, entities(peers)...)
}
