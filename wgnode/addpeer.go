package wgnode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
)

// AddPeer adds a peer: it leases addresses, writes the peer to the store, and puts it in force. When it returns nil the
// peer is durable and can connect; when it fails, or ctx ends first, nothing is left of it.
//
// Adding a peer that is there with the same specification is a success that changes nothing, so that a caller who is not
// sure may ask again; addresses that the specification leaves open match those that the peer has. A different
// specification is [ErrExists]. Other errors: [*ValidationError] with every problem of the specification at once,
// [ipam.ErrTaken], [ipam.ErrQuarantined], [ipam.ErrReserved] or [ipam.ErrExhausted] for an address that cannot be leased,
// [ErrNotAdmitted], [ErrNotStarted], [ErrClosed], and what the store and the dataplane return.
func (n *Node) AddPeer(ctx context.Context, spec PeerSpec) (AddedPeer, error) {
	added, err := n.addPeer(ctx, spec.clone())
	switch {
	case err == nil:
		return added, nil
	case spec.PublicKey == wgtypes.Key{}:
		return AddedPeer{}, &OpError{Op: "add a peer", Err: err}
	default:
		return AddedPeer{}, &OpError{"add", OfPeer(spec.PublicKey), err}
	}
}

func (n *Node) addPeer(ctx context.Context, spec PeerSpec) (added AddedPeer, err error) {
	ctx, end := n.trace(ctx, "add peer", OfPeer(spec.PublicKey), 1)
	defer func() { end(err) }()
	if err := n.life.check(); err != nil {
		return AddedPeer{}, err
	}
	a, err := n.newAddition(ctx, spec)
	if err != nil {
		return AddedPeer{}, err
	}
	done, err := n.askAdmission(ctx, a)
	if err != nil {
		return AddedPeer{}, err
	}
	defer done()
	return n.admitted(ctx, a)
}

// askAdmission asks whether peers may be added. The caller holds nothing, and calls done when the addition has ended.
func (n *Node) askAdmission(ctx context.Context, batch ...*addition) (done func(), err error) {
	if n.cfg.Admit == nil || len(batch) == 0 {
		return func() {}, nil
	}
	specs := make([]PeerSpec, len(batch))
	for i, a := range batch {
		specs[i] = a.spec
	}
	done, err = n.cfg.Admit(ctx, specs)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	case done == nil:
		return func() {}, nil
	default:
		return done, nil
	}
}

// lease takes the addresses asked for, and one of each family that none is asked for of. IPv4 comes first.
func (n *Node) lease(key wgtypes.Key, wanted []netip.Addr) (_ []netip.Addr, err error) {
	var addrs []netip.Addr
	defer func() {
		if err != nil {
			err = errors.Join(err, n.unlease(addrs))
		}
	}()
	pool := n.up.pool
	for _, family := range pool.Families() {
		i := slices.IndexFunc(wanted, func(addr netip.Addr) bool { return addr.Is4() == (family == ipam.IPv4) })
		var addr netip.Addr
		switch {
		case i >= 0:
			addr = wanted[i]
			err = pool.LeaseAddr(addr)
		case n.cfg.StableAddresses:
			addr, err = pool.LeaseFor(family, key[:])
		default:
			addr, err = pool.Lease(family)
		}
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

// unlease gives back addresses that no packet was ever sent from or to, so that they need no quarantine.
func (n *Node) unlease(addrs []netip.Addr) error {
	var errs []error
	for _, addr := range addrs {
		errs = append(errs, n.up.pool.Discard(addr))
	}
	return errors.Join(errs...)
}

// checkPeer names every problem of a specification.
func (n *Node) checkPeer(spec PeerSpec, now time.Time) error {
	var p problems
	p.publicKey(spec.PublicKey, n.session())
	p.text("Name", spec.Name, 0, MaxNameLen)
	p.addrs(spec.Addrs, n.up.pool.Prefixes())
	n.mu.RLock()
	p.account(&n.inv, spec.Account)
	known, ok := n.inv.peers.Get(spec.PublicKey)
	again := ok && known.expiresAt().Equal(spec.ExpiresAt) // it may be in its grace period
	n.mu.RUnlock()
	p.labels(spec.Labels)
	p.check("SpeedLimit", spec.SpeedLimit.Validate())
	p.dataCap("DataCap", spec.DataCap)
	if !again {
		p.expiry("ExpiresAt", spec.ExpiresAt, now)
	}
	p.gracePeriod("GracePeriod", spec.GracePeriod)
	p.idleTimeout("IdleTimeout", spec.IdleTimeout)
	return p.err("peer")
}

// checkAccount checks that the account that a peer shall belong to is there. The caller holds the slot.
func (n *Node) checkAccount(id string) error {
	var p problems
	p.account(&n.inv, id)
	return p.err("peer")
}

func (s PeerSpec) clone() PeerSpec {
	s.Addrs = slices.Clone(s.Addrs)
	s.Labels = maps.Clone(s.Labels)
	s.DataCap = s.DataCap.Clone()
	s.ExpiresAt = wallClock(s.ExpiresAt)
	return s
}

// newPeer makes a peer that has no addresses yet.
func newPeer(spec PeerSpec, sequence uint64, now time.Time) (*peer, error) {
	core, err := newCore(sequence, spec.DataCap, now)
	if err != nil {
		return nil, err
	}
	core.labels, core.speedLimit = spec.Labels, spec.SpeedLimit
	core.expiry, core.idleTimeout = expiryOf(spec.ExpiresAt, spec.GracePeriod), spec.IdleTimeout
	return &peer{
		core:         core,
		key:          spec.PublicKey,
		presharedKey: optional(spec.PresharedKey),
		name:         spec.Name,
		account:      spec.Account,
	}, nil
}

// wallClock drops the monotonic reading, which says nothing about a time that is stored or that a person set, and the
// zone, which would make equal times differ.
func wallClock(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Round(0).UTC()
}
