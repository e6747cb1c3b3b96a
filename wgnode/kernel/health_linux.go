package kernel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/guest"
	"github.com/waylume/waylume/wgnode/kernel/internal/sysctl"
)

// health is what is wrong now. What a sync mends, it asks the node for. It waits for a change that is being made.
func (dp *Dataplane) health(ctx context.Context) ([]wgnode.HealthProblem, error) {
	if err := dp.enter(ctx); err != nil {
		return nil, err
	}
	defer dp.leave()
	var list []wgnode.HealthProblem
	for _, look := range []func() ([]wgnode.HealthProblem, error){dp.lookAtLinks, dp.lookAtForwarding} {
		found, err := look()
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	if len(list) > 0 {
		dp.notifyDisturbed()
	}
	for _, look := range []func() ([]wgnode.HealthProblem, error){dp.lookAtUplink, dp.lookAtFirewalls} {
		found, err := look()
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return append(list, dp.hearing.problems(time.Now())...), nil
}

// lookAtLinks says what is wrong with the two interfaces.
func (dp *Dataplane) lookAtLinks() ([]wgnode.HealthProblem, error) {
	var wrong []string
	for _, want := range []struct {
		name  string
		index int
	}{{dp.cfg.Interface, dp.link.Index}, {dp.ifbName(), dp.ifb.Index}} {
		l, ok, err := dp.links.LinkByName(want.name)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			wrong = append(wrong, want.name+" is gone")
		case l.Index != want.index:
			wrong = append(wrong, want.name+" is another than the node's")
		case !l.Up:
			wrong = append(wrong, want.name+" is down")
		}
	}
	if len(wrong) == 0 {
		return nil, nil
	}
	return []wgnode.HealthProblem{{Kind: wgnode.InterfaceDown, What: fmt.Sprintf("interface %s: the node makes it anew; find what else "+
		"manages it, and have that leave it alone", strings.Join(wrong, ", and "))}}, nil
}

// lookAtForwarding says which family the kernel does not forward.
func (dp *Dataplane) lookAtForwarding() ([]wgnode.HealthProblem, error) {
	is4 := func(p netip.Prefix) bool { return p.Addr().Is4() }
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	off, err := sysctl.New("").NotForwarding(slices.ContainsFunc(dp.fixed.Pool, is4), slices.ContainsFunc(dp.fixed.Pool, is6))
	if err != nil || len(off) == 0 {
		return nil, err
	}
	return []wgnode.HealthProblem{{Kind: wgnode.ForwardingOff, What: fmt.Sprintf("the kernel does not forward peers' packets, as %s is not 1: "+
		"the node sets it again; find what turns it off (files in /etc/sysctl.d, another program)", strings.Join(off, " and "))}}, nil
}

// lookAtUplink says whether peers' packets have somewhere to leave by.
func (dp *Dataplane) lookAtUplink() ([]wgnode.HealthProblem, error) {
	if dp.cfg.Uplink == "" {
		return nil, nil
	}
	l, ok, err := dp.links.LinkByName(dp.cfg.Uplink)
	if err != nil || ok && l.Up {
		return nil, err
	}
	is := "is down: set it up"
	if !ok {
		is = "is not there: bring it back, or choose another Uplink"
	}
	return []wgnode.HealthProblem{{Kind: wgnode.UplinkDown, What: fmt.Sprintf("peers reach nothing, as interface %s, the only one that their "+
		"packets may leave by, %s", dp.cfg.Uplink, is)}}, nil
}

// lookAtFirewalls says which of them drop peers' packets and cannot be opened. It reads them only after a change; but of the end of
// a table whose owner ends nobody is told (net/netfilter/nf_tables_api.c, nft_rcv_nl_event).
func (dp *Dataplane) lookAtFirewalls() (list []wgnode.HealthProblem, err error) {
	if dp.cfg.LeaveFirewalls {
		return nil, nil
	}
	if dp.foreign.Swap(false) || len(dp.closed) > 0 {
		dp.closed, err = guest.Locked(dp.reads, dp.cfg.Interface, dp.port)
		if err != nil {
			dp.foreign.Store(true)
			return nil, err
		}
	}
	if len(dp.closed) == 0 {
		return nil, nil
	}
	return []wgnode.HealthProblem{{Kind: wgnode.FirewallCloses, What: lockedText(dp.closed, dp.cfg.Interface, dp.port)}}, nil
}
