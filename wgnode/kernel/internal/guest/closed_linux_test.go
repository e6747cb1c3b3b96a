package guest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel allows no cycles, but tables may change while they are read.
func TestCourseEndsInCycles(t *testing.T) {
	for _, kind := range []verdict{jumps, leaves} {
		c := chains{rules: map[string][]rule{
			"base": {{does: kind, to: "a", always: true}, {does: drops, always: true}},
			"a":    {{does: kind, to: "b", always: true}},
			"b":    {{does: kind, to: "a", always: true}},
		}}
		require.NotPanics(t, func() { c.closedAt("base", true) })
	}
	c := chains{rules: map[string][]rule{"base": {{does: jumps, to: "base", always: true}, {does: drops, always: true}}}}
	at, closed := c.closedAt("base", false)
	require.True(t, closed)
	require.Equal(t, place{"base", 1}, at)
}

// A chain that is led to but was not there when it was read gives packets back.
func TestCourseOfMissingChain(t *testing.T) {
	c := chains{rules: map[string][]rule{"base": {{does: jumps, to: "gone", always: true}}}}
	at, closed := c.closedAt("base", true)
	require.True(t, closed)
	require.Equal(t, place{"base", 1}, at)
}
