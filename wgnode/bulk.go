package wgnode

import (
	"context"
	"errors"
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// AddPeers adds many peers, all or none, in one transaction of the store. The result has an entry for each specification, in
// their order. As with AddPeer a peer that is there with the same specification is a success, so that the call may be
// repeated. [*BulkError] names every specification that is at fault, with what AddPeer would have returned for it, and a key
// that comes twice; other errors are [ErrNotAdmitted], and those of the store and the dataplane.
func (n *Node) AddPeers(ctx context.Context, specs []PeerSpec) ([]AddedPeer, error) {
	const op = "add"
	if err := n.life.check(); err != nil {
		return nil, &OpError{Op: bulkOp(op, len(specs)), Err: err}
	}
	batch := make([]*addition, len(specs))
	first := make(map[wgtypes.Key]int, len(specs))
	var wrong []ItemError
	for i, spec := range specs {
		a, err := n.newAddition(ctx, spec.clone())
		if err == nil {
			if j, twice := first[a.spec.PublicKey]; twice {
				err = &ValidationError{"peer", []Problem{{"PublicKey", fmt.Sprintf("is that of item %d, too", j)}}}
			} else {
				first[a.spec.PublicKey] = i
			}
		}
		if err != nil {
			wrong = append(wrong, ItemError{i, err})
		}
		batch[i] = a
	}
	if len(wrong) > 0 {
		return nil, &BulkError{op, len(specs), wrong}
	}
	done, err := n.askAdmission(ctx, batch...)
	if err != nil {
		return nil, &OpError{Op: bulkOp(op, len(specs)), Err: err}
	}
	defer done()
	wrong, err = n.addAll(ctx, batch)
	switch {
	case err != nil:
		return nil, &OpError{Op: bulkOp(op, len(specs)), Err: err}
	case len(wrong) > 0:
		return nil, &BulkError{op, len(specs), wrong}
	}
	added := make([]AddedPeer, len(batch))
	for i, a := range batch {
		added[i] = a.added
	}
	return added, nil
}

// addAll adds peers, all or none.
func (n *Node) addAll(ctx context.Context, batch []*addition) (wrong []ItemError, err error) {
	ctx, end := n.trace(ctx, "add peers", Subject{}, len(batch))
	defer func() { end(err) }()
	release, err := n.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var fresh []*addition
	for i, a := range batch {
		if err := n.prepare(a, n.inv.sequence+1+uint64(len(fresh))); err != nil {
			wrong = append(wrong, ItemError{i, err})
		} else if a.peer != nil {
			fresh = append(fresh, a)
		}
	}
	if len(wrong) > 0 {
		for _, a := range fresh {
			err = errors.Join(err, n.unlease(a.peer.addrs))
		}
		return wrong, err
	}
	_, err = n.install(ctx, fresh)
	return nil, err
}

// RemovePeers removes many peers, all or none; a key that comes twice counts once. [*BulkError] names each that is not there;
// other errors are those of RemovePeer.
func (n *Node) RemovePeers(ctx context.Context, keys []wgtypes.Key) error {
	const op = "remove"
	wrong, err := n.removeAll(ctx, keys)
	switch {
	case err != nil:
		return &OpError{Op: bulkOp(op, len(keys)), Err: err}
	case len(wrong) > 0:
		return &BulkError{op, len(keys), wrong}
	}
	return nil
}

func (n *Node) removeAll(ctx context.Context, keys []wgtypes.Key) (wrong []ItemError, err error) {
	ctx, end := n.trace(ctx, "remove peers", Subject{}, len(keys))
	defer func() { end(err) }()
	release, err := n.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	seen := make(map[wgtypes.Key]bool, len(keys))
	var peers []*peer
	for i, key := range keys {
		p, ok := n.inv.peers.Get(key)
		switch {
		case !ok:
			wrong = append(wrong, ItemError{i, &OpError{"remove", OfPeer(key), ErrNotFound}})
		case !seen[key]:
			seen[key] = true
			peers = append(peers, p)
		}
	}
	if len(wrong)+len(peers) == 0 || len(wrong) > 0 {
		return wrong, nil
	}
	return nil, n.uninstall(ctx, RemovalRequested, peers)
}

func bulkOp(op string, items int) string { return fmt.Sprintf("%s %d peers", op, items) }
