package netns

import (
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(Main(m, "-test.parallel=1")) }

func TestRequire(t *testing.T) {
	t.Setenv(stateVariable, "")
	require.ErrorContains(t, lack(), "netns.Main")
	t.Setenv(stateVariable, "needs a moon")
	require.EqualError(t, lack(), "needs a moon")
	t.Setenv(stateVariable, inside)
	require.NoError(t, lack())
}

// The namespace has a loopback that works, and nothing else.
func TestMainNamespace(t *testing.T) {
	Require(t)
	links, err := net.Interfaces()
	require.NoError(t, err)
	require.Len(t, links, 1, "%s has no namespaces", runtime.GOOS)
	require.Equal(t, net.FlagUp|net.FlagLoopback|net.FlagRunning, links[0].Flags)
	entries, err := os.ReadDir("/sys/class/net")
	require.NoError(t, err)
	for _, e := range entries {
		require.Equal(t, "lo", e.Name())
	}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
}
