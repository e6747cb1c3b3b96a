package link

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const createExcl = netlink.Create | netlink.Excl

func TestEnsureLink(t *testing.T) {
	c := dial(t)
	_, ok, err := c.LinkByName("wl0")
	require.NoError(t, err)
	require.False(t, ok)
	l := makeLink(t, c, "wl0")
	require.True(t, l.Ours())
	require.False(t, l.Up)
	require.Equal(t, KindIFB, l.Kind)
	require.Equal(t, Alias, l.Alias)
	require.Zero(t, l.group)

	again, created, err := c.EnsureLink("wl0", KindIFB)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, l, again)
	require.Zero(t, writes(t, c, func() error { _, _, err := c.EnsureLink("wl0", KindIFB); return err }))
	read, ok, err := c.LinkByName("wl0")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, l, read)
}

func TestNamesThatAreTaken(t *testing.T) {
	c := dial(t)
	theirs := stranger(t, c, "theirs", KindIFB)
	for _, kind := range []string{KindIFB, KindWireGuard} {
		before := c.Writes()
		_, created, err := c.EnsureLink("theirs", kind)
		require.ErrorIs(t, err, ErrTaken)
		require.ErrorContains(t, err, "ip link delete theirs")
		require.ErrorContains(t, err, "choose another interface name")
		require.False(t, created)
		require.Equal(t, before, c.Writes())
	}
	require.ErrorIs(t, c.Delete(theirs.Index), ErrTaken)
	after, ok, err := c.LinkByName("theirs")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, theirs, after)

	makeLink(t, c, "wl0")
	_, _, err = c.EnsureLink("wl0", KindWireGuard)
	require.ErrorIs(t, err, ErrTaken)
	require.ErrorContains(t, err, "another driver")

	// An alternative name is a name.
	prop := netlink.NewAttributeEncoder()
	prop.Nested(unix.IFLA_PROP_LIST, func(ae *netlink.AttributeEncoder) error {
		ae.String(unix.IFLA_ALT_IFNAME, "nickname")
		return nil
	})
	b, err := prop.Encode()
	require.NoError(t, err)
	require.NoError(t, c.write(unix.RTM_NEWLINKPROP, createExcl|netlink.Append, append(linkMessage{index: theirs.Index}.encode(), b...)))
	_, _, err = c.EnsureLink("nickname", KindIFB)
	require.ErrorIs(t, err, ErrTaken)
}

// What a process leaves that was killed after it made the interface and before it gave it the alias.
func TestHalfMadeLink(t *testing.T) {
	c := dial(t)
	half := linkMessage{name: "wl0", kind: KindIFB, alias: Alias, group: new(uint32(halfMade))}
	require.NoError(t, c.write(unix.RTM_NEWLINK, createExcl, half.encode()))
	l, ok, err := c.LinkByName("wl0")
	require.NoError(t, err)
	require.True(t, ok)
	t.Cleanup(func() { require.NoError(t, c.Delete(l.Index)) })
	// Should a kernel come that takes the alias too, the group does no harm.
	require.Equal(t, uint32(halfMade), l.group)
	require.True(t, l.Ours())

	l, created, err := c.EnsureLink("wl0", KindIFB)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, Alias, l.Alias)
	read, _, err := c.LinkByName("wl0")
	require.NoError(t, err)
	require.Equal(t, Alias, read.Alias)
	require.Zero(t, read.group)
}

func TestLinkNames(t *testing.T) {
	c := dial(t)
	for _, name := range []string{"", strings.Repeat("x", unix.IFNAMSIZ)} {
		_, _, err := c.EnsureLink(name, KindIFB)
		require.ErrorContains(t, err, "1 to 15 bytes")
	}
	_, _, err := c.EnsureLink("a/b", KindIFB)
	require.Error(t, err)
	_, _, err = c.EnsureLink("wl0", "no-such-kind")
	require.ErrorIs(t, err, unix.EOPNOTSUPP)
}

func TestDeleteLink(t *testing.T) {
	c := dial(t)
	l := makeLink(t, c, "wl0")
	require.NoError(t, c.EnsureUp(l.Index))
	require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
	require.NoError(t, c.Delete(l.Index))
	_, ok, err := c.LinkByIndex(l.Index)
	require.NoError(t, err)
	require.False(t, ok)
	require.Zero(t, writes(t, c, func() error { return c.Delete(l.Index) }))
	for _, err := range []error{
		c.EnsureUp(l.Index), c.EnsureDown(l.Index), c.EnsureAttributes(l.Index, Attributes{MTU: 1420}),
		c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")), c.EnsureRoutes(l.Index, prefixes("10.8.0.0/16")),
	} {
		require.ErrorIs(t, err, ErrNoLink)
	}
}

func TestEnsureAttributes(t *testing.T) {
	c := dial(t)
	l := makeLink(t, c, "wl0")
	want := Attributes{MTU: 1412, TxQueueLen: 77, NoLinkLocal: true}
	set := func() error { return c.EnsureAttributes(l.Index, want) }
	require.Equal(t, 1, writes(t, c, set))
	require.Zero(t, writes(t, c, set))
	require.Zero(t, writes(t, c, func() error { return c.EnsureAttributes(l.Index, Attributes{}) }))
	up := func() error { return c.EnsureUp(l.Index) }
	require.Equal(t, 1, writes(t, c, up))
	require.Zero(t, writes(t, c, up))
	read, _, err := c.LinkByIndex(l.Index)
	require.NoError(t, err)
	require.Equal(t, 1412, read.MTU)
	require.Equal(t, 77, read.TxQueueLen)
	require.True(t, read.Up)
	addrs, err := c.Addresses(l.Index)
	require.NoError(t, err)
	require.Empty(t, addrs, "no link-local address")
	down := func() error { return c.EnsureDown(l.Index) }
	require.Equal(t, 1, writes(t, c, down))
	require.Zero(t, writes(t, c, down))
	require.Error(t, c.EnsureAttributes(l.Index, Attributes{MTU: -1}))
}

// asNobody runs f on a thread without capabilities, which ends with it.
func asNobody(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &make([]unix.CapUserData, 2)[0]); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

func TestPrivileged(t *testing.T) {
	c := dial(t)
	require.NoError(t, c.Privileged())
	require.Zero(t, c.Writes())
	for _, f := range []func() error{
		c.Privileged,
		func() error { _, _, err := c.EnsureLink("wl0", KindIFB); return err },
	} {
		err := asNobody(f)
		require.ErrorIs(t, err, os.ErrPermission)
		require.ErrorContains(t, err, "run as root or with CAP_NET_ADMIN")
	}
	require.NoError(t, asNobody(func() error { _, err := c.HostAddresses(); return err }))
}

// unsteady interrupts so many dumps.
type unsteady struct {
	executor
	left int
}

func (u *unsteady) Execute(m netlink.Message) ([]netlink.Message, error) {
	answer, err := u.executor.Execute(m)
	if u.left > 0 && len(answer) > 0 {
		u.left--
		answer[len(answer)-1].Header.Flags |= netlink.DumpInterrupted
	}
	return answer, err
}

func TestInterruptedDumps(t *testing.T) {
	c := dial(t)
	want, err := c.HostAddresses()
	require.NoError(t, err)
	u := &unsteady{executor: c.netlink, left: 3}
	got, err := newConn(u).HostAddresses()
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Zero(t, u.left)
	u.left = 1000
	_, err = newConn(u).HostAddresses()
	require.ErrorIs(t, err, unix.EAGAIN)
}
