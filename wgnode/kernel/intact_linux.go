package kernel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/waylume/waylume/wgnode/kernel/internal/flows"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// intact reports whether interfaces, addresses and routes are as they were left, and the way past other firewalls. What is in
// our own tables and classes is told by their own events.
func (dp *Dataplane) intact() (bool, error) {
	if dp.life != isRunning || dp.device == nil {
		return true, nil
	}
	for _, want := range []struct {
		name  string
		index int
	}{{dp.cfg.Interface, dp.link.Index}, {dp.ifbName(), dp.ifb.Index}} {
		l, ok, err := dp.links.LinkByName(want.name)
		if err != nil {
			return false, err
		}
		if !ok || l.Index != want.index || !l.Up || want.name == dp.cfg.Interface && l.MTU != dp.fixed.MTU {
			return false, nil
		}
	}
	addrs, err := dp.links.Addresses(dp.link.Index)
	if err != nil {
		return false, err
	}
	for _, own := range dp.fixed.Addresses {
		if !slices.Contains(addrs, own) {
			return false, nil
		}
	}
	routed, err := dp.links.Routed(dp.link.Index, dp.fixed.Pool)
	if err != nil || !routed {
		return false, err
	}
	host, err := dp.hostNow()
	if err != nil || !slices.Equal(host, dp.host) {
		return false, err
	}
	return dp.guestsIntact()
}

// SetControlAllow replaces the prefixes that reach the host's control ports, in one step; none closes them to all. Connections
// of those who are not on the list any more stop without a word, and go on if they are back in time. Repairs keep the list;
// another Start begins with Config.ControlAllow again. It fails without Config.ControlPorts.
func (dp *Dataplane) SetControlAllow(ctx context.Context, allow []netip.Prefix) error {
	if errs := checkPrefixes("allow", allow); len(errs) > 0 {
		return fmt.Errorf("kernel: %w", errs[0])
	}
	if err := dp.enter(ctx); err != nil {
		return err
	}
	defer dp.leave()
	if len(dp.cfg.ControlPorts) == 0 {
		return fmt.Errorf("kernel: there are no control ports to allow: set Config.ControlPorts")
	}
	cfg := dp.rulesConfig(dp.policy)
	cfg.ControlAllow = allow
	b := &nft.Batch{}
	rules.ReplaceControl(b, cfg)
	if err := dp.commit(ctx, b); err != nil {
		return err
	}
	dp.allowed = slices.Clone(allow)
	return nil
}

// forgetFlows ends the flows of addresses that were a peer's. The kernel looks through all its flows for it, some 20 ms with
// its tables at their usual size: for addresses that nobody has yet, the sweep does it.
func (dp *Dataplane) forgetFlows(ctx context.Context, addrs []netip.Addr) error {
	if len(addrs) == 0 || !dp.flowsKnown {
		return nil
	}
	var n int
	err := traced(ctx, "end flows", len(addrs), func(context.Context) (err error) {
		n, err = flows.Forget(addrs)
		return err
	})
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		delete(dp.vacated, addr)
	}
	if n > 0 {
		dp.fixed.Logger.Debug("flows of former peers ended", "flows", n)
	}
	return nil
}
