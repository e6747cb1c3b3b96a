package htb

import (
	"runtime"
	"testing"
	"time"

	"github.com/florianl/go-tc"
	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/shaping"
)

// send hands frames with a priority to a device, from a thread that ends with it.
func (w *world) send(device int, c Class, frames int) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Setns(w.netns, unix.CLONE_NEWNET); err != nil {
				return err
			}
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, int(classID(c))); err != nil {
				return err
			}
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20); err != nil {
				return err
			}
			for range frames {
				err := unix.Sendto(fd, make([]byte, 500), 0, &unix.SockaddrLinklayer{Ifindex: w.devices[device].Index})
				if err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	return <-done
}

// setUp lets packets pass a device.
func (w *world) setUp(t *testing.T, device int) {
	t.Helper()
	links, err := rtnetlink.Dial(&netlink.Config{NetNS: w.netns})
	require.NoError(t, err)
	defer func() { require.NoError(t, links.Close()) }()
	require.NoError(t, links.Link.Set(&rtnetlink.LinkMessage{
		Index: uint32(w.devices[device].Index), Flags: unix.IFF_UP, Change: unix.IFF_UP,
	}))
}

// TestPacketsFindTheirClass shows what a class as the priority of a packet does: in a leaf it counts, in a group it does not.
func TestPacketsFindTheirClass(t *testing.T) {
	w := newWorld(t)
	w.queue = queueBfifo // go-tc, which reads the counters here, cannot read our tbf
	w.setUp(t, 0)
	tree := w.open(t, w.config())
	require.NoError(t, tree.Root(t.Context(), shaping.Limit{}))
	group, err := tree.ClaimGroup(t.Context(), shaping.Limit{}, 1)
	require.NoError(t, err)
	leaf, err := tree.Claim(t.Context(), group, shaping.Limit{Download: 20e6})
	require.NoError(t, err)

	reader, err := tc.Open(&tc.Config{NetNS: w.netns})
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	counts := func() map[Class]uint32 {
		objects, err := reader.Class().Get(&tc.Msg{Ifindex: uint32(w.devices[0].Index), Parent: rootHandle})
		require.NoError(t, err)
		packets := make(map[Class]uint32)
		for _, o := range objects {
			packets[Class(o.Handle&0xffff)] = o.Stats.Packets
		}
		return packets
	}
	direct := func() uint32 {
		objects, err := reader.Qdisc().Get()
		require.NoError(t, err)
		for _, o := range objects {
			if o.Ifindex == uint32(w.devices[0].Index) && o.Parent == noParent {
				return o.Htb.Init.DirectPkts
			}
		}
		return 0
	}
	before := direct()
	require.NoError(t, w.send(0, leaf, 7))
	require.Equal(t, map[Class]uint32{rootClass: 7, group: 7, leaf: 7}, counts())
	require.Less(t, direct(), before+7, "but for the kernel's own, of multicast listeners")
	require.NoError(t, w.send(0, group, 5))
	require.Equal(t, map[Class]uint32{rootClass: 7, group: 7, leaf: 7}, counts(), "a group's own packets pass unshaped")
	require.GreaterOrEqual(t, direct(), before+5)
}

// TestFallenLimit has a limit fall steeply while packets wait: what would take minutes at the new rate is let go. One that falls a
// little keeps them.
func TestFallenLimit(t *testing.T) {
	for _, kind := range []queueKind{queueBfifo, queueTbf, queueNone} {
		w := newWorld(t)
		var err error
		w.planner, err = shaping.NewPlanner(0, shaping.Tuning{Queue: 10 * time.Second})
		require.NoError(t, err)
		w.queue = kind // or whichever this kernel has
		w.setUp(t, 0)
		tree := w.open(t, w.config())
		require.NoError(t, tree.Root(t.Context(), shaping.Limit{}))
		leaf, err := tree.Claim(t.Context(), 0, shaping.Limit{Download: 800e3})
		require.NoError(t, err)
		reader, err := tc.Open(&tc.Config{NetNS: w.netns})
		require.NoError(t, err)
		defer func() { require.NoError(t, reader.Close()) }()
		queue := func() (limit, waiting uint32) {
			limit = w.qdiscs(t, 0)[classID(leaf)].queue.limit
			classes, err := reader.Class().Get(&tc.Msg{Ifindex: uint32(w.devices[0].Index), Parent: rootHandle})
			require.NoError(t, err)
			for _, o := range classes {
				if o.Handle == classID(leaf) {
					waiting = o.Stats.Backlog
				}
			}
			return limit, waiting
		}
		change := func(rate shaping.Rate) (waiting uint32) {
			before, _ := queue()
			require.NoError(t, tree.Change(t.Context(), leaf, shaping.Limit{Download: rate}))
			require.Eventually(t, func() bool {
				var now uint32
				now, waiting = queue()
				return now != 0 && now != before
			}, 10*time.Second, time.Millisecond)
			return waiting
		}
		require.NoError(t, w.send(0, leaf, 450))
		require.Greater(t, change(640e3), uint32(64<<10))
		require.Less(t, change(8e3), uint32(64<<10))
		require.NoError(t, w.send(0, leaf, 10))
		_, waiting := queue()
		require.NotZero(t, waiting, "a new queue takes packets")
	}
}
