package kernel

import (
	"fmt"
	"strings"

	"github.com/waylume/waylume/wgnode/kernel/internal/guest"
)

// bringGuests lets peers' packets, and WireGuard's own, pass beside other firewalls that drop by default, and returns in words
// what that took. With Config.LeaveFirewalls it takes away what an earlier process has put there.
func (dp *Dataplane) bringGuests() ([]string, error) {
	if dp.cfg.LeaveFirewalls {
		return nil, dp.leaveGuests()
	}
	return guest.Ensure(dp.nft, dp.cfg.Interface, dp.port)
}

// leaveGuests leaves other firewalls as they were found. Who fails before anything was its own leaves what an earlier process
// keeps there.
func (dp *Dataplane) leaveGuests() error {
	if dp.policy == nil {
		return nil
	}
	return guest.Remove(dp.nft, dp.cfg.Interface)
}

// guestsIntact reports whether there is nothing for bringGuests to do.
func (dp *Dataplane) guestsIntact() (bool, error) {
	if dp.cfg.LeaveFirewalls {
		return true, nil
	}
	return guest.Intact(dp.nft, dp.cfg.Interface, dp.port)
}

// guestLimitations says which firewalls may be in the way and cannot be opened.
func (dp *Dataplane) guestLimitations() (list []string, err error) {
	if guest.Legacy() {
		list = append(list, fmt.Sprintf("iptables-legacy has tables here, which cannot be seen through nftables: if they drop by default, accept what comes from and goes to %s in them", dp.cfg.Interface))
	}
	if dp.cfg.LeaveFirewalls {
		return list, nil
	}
	locked, err := guest.Locked(dp.nft, dp.cfg.Interface, dp.port)
	if len(locked) > 0 {
		list = append(list, lockedText(locked, dp.cfg.Interface, dp.port))
	}
	return list, err
}

// lockedText says what to do about tables that nobody but their owner can open.
func lockedText(tables []string, iface string, port uint16) string {
	return fmt.Sprintf("packets are dropped by default in tables that their owner lets nobody change (%s): accept there what comes from "+
		"and goes to %s, and UDP port %d; for firewalld, put the interface into the zone trusted", strings.Join(tables, ", "), iface, port)
}
