package htb

import (
	"errors"
	"runtime"
	"testing"

	"github.com/florianl/go-tc"
	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/shaping"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a network namespace of its own with the two devices of a tree, and a way to fail its requests.
type world struct {
	netns   int
	devices []Device
	planner *shaping.Planner

	requests int
	surveys  int // dumps with qdiscs
	fail     func(op operation, o *tc.Object) (err error, done bool)
	queue    queueKind // if set, the best that is there
}

func newWorld(tb testing.TB) *world {
	testutil.RequireRoot(tb)
	planner, err := shaping.NewPlanner(0, shaping.Tuning{})
	require.NoError(tb, err)
	w := &world{netns: newNetNS(tb), planner: planner}
	w.devices = []Device{{Name: "down0", Direction: Download}, {Name: "up0", Direction: Upload}}
	for i := range w.devices {
		w.devices[i].Index = w.addIFB(tb, w.devices[i].Name)
	}
	return w
}

// addIFB makes a device, and returns its index.
func (w *world) addIFB(tb testing.TB, name string) int {
	links, err := rtnetlink.Dial(&netlink.Config{NetNS: w.netns})
	require.NoError(tb, err)
	defer func() { require.NoError(tb, links.Close()) }()
	require.NoError(tb, links.Link.New(&rtnetlink.LinkMessage{
		Family:     unix.AF_UNSPEC,
		Attributes: &rtnetlink.LinkAttributes{Name: name, Info: &rtnetlink.LinkInfo{Kind: "ifb"}},
	}), "this kernel needs IFB devices")
	all, err := links.Link.List()
	require.NoError(tb, err)
	for _, l := range all {
		if l.Attributes.Name == name {
			return int(l.Index)
		}
	}
	tb.Fatalf("no device %s", name)
	return 0
}

// newNetNS returns a descriptor of a fresh namespace, which ends with the test.
func newNetNS(tb testing.TB) int {
	type result struct {
		fd  int
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		fd := -1
		if err == nil {
			fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		made <- result{fd, err}
	}()
	r := <-made
	require.NoError(tb, r.err)
	tb.Cleanup(func() { _ = unix.Close(r.fd) })
	return r.fd
}

// watched is a kernel whose requests are counted and may fail.
type watched struct {
	kernel
	w *world
}

func (k watched) write(op operation, o *tc.Object) error {
	k.w.requests++
	if k.w.queue != queueNone && (o.Kind == "fq_codel" || o.Kind == "tbf" && k.w.queue == queueBfifo) {
		return unix.ENOENT
	}
	if k.w.fail != nil {
		err, done := k.w.fail(op, o)
		if done {
			err = errors.Join(k.kernel.write(op, o), err)
		}
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
	return k.kernel.write(op, o)
}

func (k watched) dump(devices []Device, qdisc func(int, seenQdisc), class func(int, seenClass)) error {
	if qdisc != nil {
		k.w.surveys++
	}
	return k.kernel.dump(devices, qdisc, class)
}

func (w *world) config() Config {
	return Config{Planner: w.planner, Devices: w.devices, NetNS: w.netns, dial: func(netns int) (kernel, error) {
		k, err := dial(netns)
		return watched{k, w}, err
	}}
}

func (w *world) open(tb testing.TB, config Config) *Tree {
	t, err := Open(tb.Context(), config)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, t.Close()) })
	return t
}

// writes returns how many requests fn writes.
func (w *world) writes(fn func()) int {
	before := w.requests
	fn()
	return w.requests - before
}

// qdiscs reads those of a device, by their parents.
func (w *world) qdiscs(tb require.TestingT, device int) map[uint32]seenQdisc {
	k, err := dial(w.netns)
	require.NoError(tb, err)
	seen := make(map[uint32]seenQdisc)
	err = k.dump(w.devices[device:device+1], func(_ int, q seenQdisc) { seen[q.parent] = q }, func(int, seenClass) {})
	require.NoError(tb, errors.Join(err, k.close()))
	return seen
}
