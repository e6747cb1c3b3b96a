package htb

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/florianl/go-tc"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/shaping"
)

// TestSyncSaysWhatItMended is the words; that it mends is shown by TestTree.
func TestSyncSaysWhatItMended(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	other, err := tc.Open(&tc.Config{NetNS: w.netns})
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	tree := w.open(t, w.config())
	require.NoError(t, tree.Root(ctx, shaping.Limit{}))
	c, err := tree.Claim(ctx, 0, shaping.Limit{Download: 20e6})
	require.NoError(t, err)
	down, up := uint32(w.devices[0].Index), uint32(w.devices[1].Index)
	mends := func(want ...string) {
		t.Helper()
		words, err := tree.Sync(ctx)
		require.NoError(t, err)
		require.Equal(t, want, words)
		require.Zero(t, w.writes(func() {
			words, err := tree.Sync(ctx)
			require.NoError(t, err)
			require.Empty(t, words)
		}))
	}
	mends([]string(nil)...)
	require.NoError(t, other.Class().Delete(classParams{}.object(down, c, 0)))
	require.NoError(t, other.Class().Add(classParams{rate: 1, ceil: 1}.object(up, 0x77, classID(c))))
	mends("down0: class 1:2 is not there", "up0: class 1:2 has no queue of ours", "up0: class 1:77 is not ours")
	require.NoError(t, other.Class().Replace(classParams{rate: 2, ceil: 2}.object(down, c, classID(rootClass))))
	k, err := dial(w.netns)
	require.NoError(t, err)
	require.NoError(t, k.write(changeQdisc, queueParams{kind: tree.queueKind, limit: 3, longest: 3000, quantum: 300}.object(up, c, false)))
	require.NoError(t, k.close())
	mends("down0: class 1:2 has other parameters", "up0: the queue of class 1:2 has other parameters")
	require.NoError(t, other.Qdisc().Delete(rootObject(up)))
	mends("up0: the root qdisc is not there, nor what was below it")
	// One that looks like ours, but classifies what we leave alone.
	require.NoError(t, other.Qdisc().Delete(rootObject(up)))
	o := rootObject(up)
	o.Htb.Init.Defcls = 5
	require.NoError(t, other.Qdisc().Add(o))
	mends("up0: the root qdisc is not there, nor what was below it")
}

// TestSyncReadsQueuesThatMayHaveChanged is that it spares itself the qdiscs only while nobody has written anything.
func TestSyncReadsQueuesThatMayHaveChanged(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	elsewhere := Device{Name: "other0", Index: w.addIFB(t, "other0")}
	other, err := tc.Open(&tc.Config{NetNS: w.netns})
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	config := w.config()
	config.still = true
	tree := w.open(t, config)
	require.NoError(t, tree.Root(ctx, shaping.Limit{}))
	c, err := tree.Claim(ctx, 0, shaping.Limit{Download: 20e6})
	require.NoError(t, err)
	sync := func() (words []string, surveys int) {
		t.Helper()
		before := w.surveys
		words, err := tree.Sync(ctx)
		require.NoError(t, err)
		return words, w.surveys - before
	}
	reads := func(want int, why string) {
		t.Helper()
		words, surveys := sync()
		require.Empty(t, words)
		require.Equal(t, want, surveys, why)
	}
	mends := func(want string) {
		t.Helper()
		words, surveys := sync()
		require.Equal(t, []string{want}, words)
		require.Equal(t, 1, surveys)
		reads(1, "it has mended something")
		reads(0, "all is as it was")
	}
	reads(1, "for the first time")
	reads(0, "all is as it was")
	require.NoError(t, other.Qdisc().Add(rootObject(uint32(elsewhere.Index))))
	reads(0, "that is no device of the tree's")
	require.NoError(t, tree.Change(ctx, c, shaping.Limit{Download: 30e6}))
	reads(1, "the tree has changed it")
	reads(0, "all is as it was")

	up := uint32(w.devices[1].Index)
	k, err := dial(w.netns)
	require.NoError(t, err)
	defer func() { require.NoError(t, k.close()) }()
	smaller := queueParams{kind: tree.queueKind, limit: 3, longest: 3000, quantum: 300}
	require.NoError(t, k.write(changeQdisc, smaller.object(up, c, false)))
	mends("up0: the queue of class 1:2 has other parameters")
	require.NoError(t, other.Class().Replace(classParams{rate: 2, ceil: 2}.object(up, c, classID(rootClass))))
	mends("up0: class 1:2 has other parameters")
	require.NoError(t, other.Class().Delete(classParams{}.object(up, c, 0)))
	mends("up0: class 1:2 is not there")
	for range 5000 { // more than the socket keeps
		require.NoError(t, other.Class().Replace(classParams{rate: 2, ceil: 2}.object(up, c, classID(rootClass))))
	}
	mends("up0: class 1:2 has other parameters")

	// What is said of the classes is looked at in any case.
	require.NoError(t, other.Qdisc().Delete(rootObject(up)))
	changed, err := tree.kernel.changed(config.Devices)
	require.NoError(t, err)
	require.True(t, changed)
	mends("up0: the root qdisc is not there, nor what was below it")
}

// TestForeignQdiscsDoNotMatter has a kind in the namespace that go-tc cannot read.
func TestForeignQdiscsDoNotMatter(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	other := w.addIFB(t, "other0")
	raw, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: w.netns})
	require.NoError(t, err)
	defer func() { require.NoError(t, raw.Close()) }()
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.TCA_KIND, Data: []byte("pfifo_head_drop\x00")}})
	require.NoError(t, err)
	m := make([]byte, tcmsgLen)
	binary.NativeEndian.PutUint32(m[4:], uint32(other))
	binary.NativeEndian.PutUint32(m[8:], 5<<16)
	binary.NativeEndian.PutUint32(m[12:], noParent)
	_, err = raw.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWQDISC, Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
		Data:   slices.Concat(m, attributes),
	})
	require.NoError(t, err)
	reader, err := tc.Open(&tc.Config{NetNS: w.netns})
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	_, err = reader.Qdisc().Get()
	require.ErrorIs(t, err, tc.ErrUnknownKind, "if go-tc can read any, it can read for us")

	tree := w.open(t, w.config())
	require.NoError(t, tree.Root(ctx, shaping.Limit{}))
	words, err := tree.Sync(ctx)
	require.NoError(t, err)
	require.Empty(t, words)
}

func TestBackground(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	config := w.config()
	config.Reserve = 5
	tree := w.open(t, config)
	require.NoError(t, tree.Root(ctx, shaping.Limit{}))
	ready := func() bool { return tree.Stats().Ready >= 5 }
	require.Eventually(t, ready, 10*time.Second, time.Millisecond)
	g, err := tree.ClaimGroup(ctx, shaping.Limit{}, 1)
	require.NoError(t, err)
	c, err := tree.Claim(ctx, g, shaping.Limit{})
	require.NoError(t, err)
	require.Eventually(t, ready, 10*time.Second, time.Millisecond)
	// The queue follows the ceiling of its group, and its own.
	queue := func() queueParams {
		require.NoError(t, tree.enter(ctx))
		defer tree.leave()
		_, want := tree.want(1, c)
		if have := tree.node(c).sides[1].queue; len(tree.stale) > 0 || have != want {
			return queueParams{}
		}
		return want
	}
	for _, class := range []Class{g, c} {
		before := queue()
		require.NoError(t, tree.Change(ctx, class, shaping.Limit{Upload: 20e6 / shaping.Rate(class)}))
		require.Eventually(t, func() bool { now := queue(); return now != queueParams{} && now != before }, 10*time.Second, time.Millisecond)
	}
	require.Equal(t, 7, tree.Stats().Classes)
}

func TestNoDevice(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	config.Devices = []Device{{Index: 12345, Name: "nowhere0", Direction: Download}}
	tree := w.open(t, config)
	err := tree.Root(t.Context(), shaping.Limit{})
	require.ErrorIs(t, err, unix.ENODEV)
	require.ErrorContains(t, err, "nowhere0 is gone")
}

func TestConfig(t *testing.T) {
	planner, err := shaping.NewPlanner(0, shaping.Tuning{})
	require.NoError(t, err)
	down := Device{Index: 1, Name: "a", Direction: Download}
	for name, devices := range map[string][]Device{
		"none": nil, "no index": {{Name: "a", Direction: Upload}}, "no direction": {{Name: "a", Index: 1}}, "the same": {down, down},
	} {
		_, err := Open(t.Context(), Config{Planner: planner, Devices: devices})
		require.ErrorIs(t, err, ErrConfig, name)
	}
	_, err = Open(t.Context(), Config{Devices: []Device{down}})
	require.ErrorIs(t, err, ErrConfig)
}

func TestClosed(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	tree := w.open(t, w.config())
	require.NoError(t, tree.Root(ctx, shaping.Limit{}))
	c, err := tree.Claim(ctx, 0, shaping.Limit{})
	require.NoError(t, err)
	require.Error(t, tree.Change(ctx, c, shaping.Limit{Download: 1}), "below MinRate")
	cancel()
	require.ErrorIs(t, tree.Change(ctx, c, shaping.Limit{}), context.Canceled)
	require.NoError(t, tree.Close())
	require.NoError(t, tree.Close())
	require.ErrorIs(t, tree.Release(c), ErrClosed)
	_, err = tree.Sync(t.Context())
	require.ErrorIs(t, err, ErrClosed)
}

// TestQueueFallsBack is a kernel without fq_codel, whether or not this one has it, and the same after a restart.
func TestQueueFallsBack(t *testing.T) {
	for _, kind := range []queueKind{queueBfifo, queueTbf} {
		w := newWorld(t)
		w.queue = kind
		ctx := t.Context()
		for range 2 {
			tree := w.open(t, w.config())
			require.NoError(t, tree.Root(ctx, shaping.Limit{}))
			_, err := tree.Claim(ctx, 0, shaping.Limit{Download: 10e6})
			require.NoError(t, err)
			require.False(t, tree.Stats().FqCodel)
			require.Equal(t, kind, tree.queueKind)
			words, err := tree.Sync(ctx)
			require.NoError(t, err)
			require.Empty(t, words)
			require.NoError(t, tree.Close())
		}
	}
}

// TestQueueKindChanges is a process that finds the queues of one that had another kind, or other flows.
func TestQueueKindChanges(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	first := w.open(t, w.config())
	require.NoError(t, first.Root(ctx, shaping.Limit{}))
	c, err := first.Claim(ctx, 0, shaping.Limit{})
	require.NoError(t, err)
	kind := first.queueKind
	require.NoError(t, first.enter(ctx))
	params := w.planner.Leaf(0, 0, 0)
	for _, q := range []queueParams{queueOf(queueBfifo, params), queueOf(queueTbf, params), queueOf(kind, params)} {
		require.NoError(t, first.putQueue(0, c, q))
		require.NoError(t, first.putQueue(1, c, q))
	}
	first.leave()
	words, err := first.Sync(ctx)
	require.NoError(t, err)
	require.Empty(t, words)
}
