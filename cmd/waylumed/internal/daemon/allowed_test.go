package daemon

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// ports is a dataplane that closes ports, but for whom it was told last.
type ports struct {
	told []netip.Prefix
	err  error
}

func (p *ports) SetControlAllow(_ context.Context, prefixes []netip.Prefix) error {
	if p.err == nil {
		p.told = prefixes
	}
	return p.err
}

// TestAllowed has the configuration and the allowlist change one after the other: neither takes away what the other has, and
// a change that fails is none.
func TestAllowed(t *testing.T) {
	prefix := netip.MustParsePrefix
	a, b, c := prefix("192.0.2.0/24"), prefix("198.51.100.0/24"), prefix("203.0.113.0/24")
	dp := &ports{}
	allowed := newAllowed(dp, []uint16{8443}, []netip.Prefix{a})
	require.NoError(t, allowed.list(t.Context(), []netip.Prefix{b}))
	require.Equal(t, []netip.Prefix{a, b}, dp.told)
	require.NoError(t, allowed.configure(t.Context(), []netip.Prefix{c}))
	require.Equal(t, []netip.Prefix{c, b}, dp.told)

	dp.err = errors.New("the kernel says no")
	require.ErrorIs(t, allowed.configure(t.Context(), nil), dp.err)
	require.ErrorIs(t, allowed.list(t.Context(), nil), dp.err)
	dp.err = nil
	require.NoError(t, allowed.list(t.Context(), []netip.Prefix{a}))
	require.Equal(t, []netip.Prefix{c, a}, dp.told)
	require.NoError(t, allowed.configure(t.Context(), nil))
	require.Equal(t, []netip.Prefix{a}, dp.told)

	// Without ports to close, or a dataplane that could, nobody is told.
	dp.told = nil
	require.NoError(t, newAllowed(dp, nil, nil).list(t.Context(), []netip.Prefix{a}))
	require.Nil(t, dp.told)
	require.NoError(t, newAllowed(nil, []uint16{1}, nil).list(t.Context(), []netip.Prefix{a}))
}
