package daemon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// allowed are those who reach the control ports: whom the configuration names, and whom the allowlist does. Either changes
// without the other.
type allowed struct {
	set func(context.Context, []netip.Prefix) error // nil: there are no such ports, or the dataplane has none

	mu                 sync.Mutex     // of changes, and of what follows
	configured, listed []netip.Prefix // in force
}

// newAllowed returns those that a dataplane has let through from its start. It need not be one that closes ports.
func newAllowed(dataplane any, ports []uint16, configured []netip.Prefix) *allowed {
	a := &allowed{configured: configured}
	if dp, ok := dataplane.(interface {
		SetControlAllow(context.Context, []netip.Prefix) error
	}); ok && len(ports) > 0 {
		a.set = dp.SetControlAllow
	}
	return a
}

// configure has others in place of those of the configuration.
func (a *allowed) configure(ctx context.Context, prefixes []netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.change(ctx, &a.configured, prefixes)
}

// list has others in place of those of the allowlist.
func (a *allowed) list(ctx context.Context, prefixes []netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.change(ctx, &a.listed, prefixes)
}

// change is for who has the lock. After an error all is as it was.
func (a *allowed) change(ctx context.Context, which *[]netip.Prefix, prefixes []netip.Prefix) error {
	before := *which
	*which = prefixes
	if a.set == nil || slices.Equal(before, prefixes) {
		return nil
	}
	err := a.set(ctx, slices.Concat(a.configured, a.listed))
	if err != nil {
		*which = before
	}
	return err
}
