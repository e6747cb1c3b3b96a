package guest_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/kernel/internal/guest"
)

func TestLegacy(t *testing.T) {
	netns.Require(t)
	var before, after bool
	var missing error
	netns.New(t).Do(t, func() error {
		before = guest.Legacy()
		missing = exec.Command("ip6tables-legacy", "-S").Run() // makes the tables that it lists
		after = guest.Legacy()
		return nil
	})
	require.False(t, before)
	if missing != nil {
		t.Skipf("this machine or its kernel has no ip6tables-legacy: %v", missing)
	}
	require.True(t, after)
}
