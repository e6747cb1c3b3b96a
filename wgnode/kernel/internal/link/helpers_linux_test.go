package link

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// dial connects to the test's namespace.
func dial(t *testing.T) *Conn {
	t.Helper()
	netns.Require(t)
	c, err := Dial()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// make makes an interface of ours that goes with the test.
func makeLink(t *testing.T, c *Conn, name string) Link {
	t.Helper()
	l, created, err := c.EnsureLink(name, KindIFB)
	require.NoError(t, err)
	require.True(t, created)
	t.Cleanup(func() { require.NoError(t, c.Delete(l.Index)) })
	return l
}

// stranger makes an interface that is not ours.
func stranger(t *testing.T, c *Conn, name, kind string) Link {
	t.Helper()
	require.NoError(t, c.write(unix.RTM_NEWLINK, createExcl, linkMessage{name: name, kind: kind}.encode()))
	l, ok, err := c.LinkByName(name)
	require.NoError(t, err)
	require.True(t, ok)
	t.Cleanup(func() {
		err := c.write(unix.RTM_DELLINK, 0, linkMessage{index: l.Index}.encode())
		if !errors.Is(err, unix.ENODEV) {
			require.NoError(t, err)
		}
	})
	return l
}

// writes returns how many writes f makes.
func writes(t *testing.T, c *Conn, f func() error) int {
	t.Helper()
	before := c.Writes()
	require.NoError(t, f())
	return int(c.Writes() - before)
}

func prefixes(texts ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, text := range texts {
		p = append(p, netip.MustParsePrefix(text))
	}
	return p
}
