package isolation

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// A packet that began under an older plan must not be judged with rule bits of a newer one, whose rules are others.
func TestStateIsNeverOfAnotherPlan(t *testing.T) {
	f := NewFilter(Config{})
	m, err := f.SetSubject(Subject{ID: "a", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}})
	require.NoError(t, err)
	older := f.installed.Load()
	s, current := m.under(older)
	require.True(t, current)
	require.Same(t, older, s.in)

	f.SetPlan(nil)
	_, current = m.under(older)
	require.False(t, current)
	newer := f.installed.Load()
	s, current = m.under(newer)
	require.True(t, current)
	require.Same(t, newer, s.in)

	// A packet that comes between the new plan and the member's turn brings the member up to it.
	third := &installed{plan: defaultPlan(), generation: newer.generation + 1}
	s, current = m.under(third)
	require.True(t, current)
	require.Same(t, third, s.in)
	require.Same(t, s, m.state.Load())

	f.RemoveSubject("a")
	s, current = m.under(third)
	require.True(t, current)
	require.Nil(t, s)
}
