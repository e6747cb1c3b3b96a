package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// Apply makes one change, whole or not at all. A peer enters the device last and leaves it first; between, the classes are
// made ready, and one transaction changes the tables.
func (dp *Dataplane) Apply(ctx context.Context, change wgnode.Change) error {
	if err := dp.enter(ctx); err != nil {
		return err
	}
	defer dp.leave()
	return dp.apply(ctx, change)
}

// Sync makes the kernel hold just what want says, and reports what it had to mend.
func (dp *Dataplane) Sync(ctx context.Context, want wgnode.State) ([]wgnode.Repair, error) {
	if err := dp.enter(ctx); err != nil {
		return nil, err
	}
	defer dp.leave()
	change, repairs := dp.set.Diff(want)
	if err := dp.set.Check(change); err != nil {
		return nil, err
	}
	mended, err := dp.bring(ctx, dp.set.State(), true)
	if err != nil {
		return nil, err
	}
	if len(repairs) > 0 {
		if err := dp.apply(ctx, change); err != nil {
			return nil, err
		}
	}
	return append(repairs, mended...), nil
}

func (dp *Dataplane) apply(ctx context.Context, change wgnode.Change) error {
	if err := dp.set.Check(change); err != nil {
		return err
	}
	if err := dp.checkAddresses(change); err != nil {
		return err
	}
	undo := dp.set.Inverse(change)
	// A node's first ceiling and a new policy concern all peers: these are changes of the whole.
	if change.Policy != nil && !change.Policy.Equal(dp.set.Policy()) || change.SpeedLimit != nil && *change.SpeedLimit != dp.node {
		return dp.applyWhole(ctx, change, undo)
	}
	return dp.applyPart(ctx, change)
}

// checkAddresses refuses what the tables could not tell from a stranger's.
func (dp *Dataplane) checkAddresses(change wgnode.Change) error {
	for _, p := range change.SetPeers {
		for _, addr := range p.Addrs {
			if !slices.ContainsFunc(dp.fixed.Pool, func(p netip.Prefix) bool { return p.Contains(addr) }) {
				return fmt.Errorf("kernel: peer %s: address %s is outside of the pool %v", p.PublicKey, addr, dp.fixed.Pool)
			}
		}
	}
	return nil
}

// applyWhole changes everything at once: what is to be is compared with all that is.
func (dp *Dataplane) applyWhole(ctx context.Context, change, undo wgnode.Change) error {
	before := dp.set.State()
	dp.set.Record(change)
	want := dp.set.State()
	dp.set.Record(undo)
	_, err := dp.bring(ctx, want, false)
	if err != nil {
		// The way back must not depend on the caller's patience.
		_, back := dp.bring(context.WithoutCancel(ctx), before, false)
		return errors.Join(err, back)
	}
	dp.set.Record(change)
	return nil
}

// applyPart changes what the change names and what hangs on it.
func (dp *Dataplane) applyPart(ctx context.Context, change wgnode.Change) error {
	s := newStep(dp)
	// What is undone must not depend on the caller's patience.
	calm := context.WithoutCancel(ctx)
	err := s.plan(ctx, change)
	if err != nil {
		return errors.Join(err, dp.giveUp(calm, s, err))
	}
	if err := dp.setDevice(ctx, s.leaving(), nil); err != nil {
		return errors.Join(err, dp.setDevice(calm, nil, s.former(s.leaving())), dp.giveUp(calm, s, err))
	}
	forward, back := s.batches()
	if err := dp.commit(ctx, forward); err != nil {
		return errors.Join(err, dp.setDevice(calm, nil, s.former(s.leaving())), dp.giveUp(calm, s, err))
	}
	// Nothing late of a former peer's reaches who has its address now.
	err = dp.forgetFlows(ctx, s.taken())
	if err == nil {
		err = dp.setDevice(ctx, nil, s.entering())
	}
	if err != nil {
		return errors.Join(err, dp.setDevice(calm, s.strangers(), nil), dp.commit(calm, back), dp.setDevice(calm, nil, s.former(s.keys())),
			s.classes.rollback(calm))
	}
	s.record()
	dp.set.Record(change)
	for _, addr := range s.vacated() {
		dp.vacated[addr] = true
	}
	dp.notify(s.notes)
	return s.classes.settle()
}

// giveUp undoes what a change did before its transaction failed. Where the kernel said that it refused the transaction, nothing
// of that holds; where its answer was lost, nobody knows, and all is compared with what is to be.
func (dp *Dataplane) giveUp(ctx context.Context, s *step, cause error) error {
	if err := s.classes.rollback(ctx); err != nil {
		return err
	}
	var refused *nft.BatchError
	var lost *netlink.OpError
	var errno unix.Errno
	if !errors.As(cause, &refused) && (errors.As(cause, &lost) || errors.As(cause, &errno)) {
		_, err := dp.bring(ctx, dp.set.State(), false)
		return err
	}
	return s.resume(ctx)
}

func (dp *Dataplane) setDevice(ctx context.Context, remove []wgtypes.Key, set []wgdev.Peer) error {
	if len(remove)+len(set) == 0 {
		return nil
	}
	return dp.configure(ctx, remove, set)
}
