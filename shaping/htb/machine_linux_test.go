package htb

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/florianl/go-tc"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/shaping"
)

// claimOf is what a test remembers of a claim.
type claimOf struct {
	group   Class
	isGroup bool
	limit   shaping.Limit
}

// treeMachine drives a tree over real devices, breaks its requests and what it made, and reads the result back with go-tc,
// not with the code under test.
type treeMachine struct {
	w      *world
	tb     testing.TB
	tree   *Tree
	tc     *tc.Tc
	root   shaping.Limit
	claims map[Class]claimOf
	config Config
}

var rates = []shaping.Rate{shaping.Unlimited, shaping.MinRate, 1e6, 20e6, 34e9, 35e9, 100e9, shaping.MaxRate}

func drawLimit(t *rapid.T) shaping.Limit {
	return shaping.Limit{
		Download: rapid.SampledFrom(rates).Draw(t, "download"),
		Upload:   rapid.SampledFrom(rates).Draw(t, "upload"),
	}
}

func (m *treeMachine) reset(t *rapid.T) {
	for _, d := range m.w.devices {
		o := &tc.Object{Msg: tc.Msg{Ifindex: uint32(d.Index), Parent: noParent}}
		o.Kind, o.Pfifo = "pfifo", &tc.FifoOpt{Limit: 10}
		require.NoError(t, m.tc.Qdisc().Replace(o))
	}
	m.w.fail = nil
	m.claims = make(map[Class]claimOf)
	m.config = m.w.config()
	m.config.still = true
	m.config.most = rapid.IntRange(3, 10).Draw(t, "most")
	m.open(t)
}

// open is a start: with what is remembered of an earlier one.
func (m *treeMachine) open(t *rapid.T) {
	var err error
	m.tree, err = Open(context.Background(), m.config)
	require.NoError(t, err)
	require.NoError(t, m.tree.Root(context.Background(), m.root))
}

func (m *treeMachine) Restart(t *rapid.T) {
	m.settle(t)
	require.NoError(t, m.tree.Close())
	writes := m.w.writes(func() {
		m.open(t)
		for _, isGroup := range []bool{true, false} {
			for c, claim := range m.claims {
				var ok bool
				var err error
				switch {
				case claim.isGroup != isGroup:
					continue
				case isGroup:
					ok, err = m.tree.AdoptGroup(context.Background(), c, claim.limit)
				default:
					ok, err = m.tree.Adopt(context.Background(), c, claim.group, claim.limit)
				}
				require.NoError(t, err)
				require.True(t, ok)
			}
		}
		m.isIntact(t)
	})
	require.Zero(t, writes)
}

// settle waits for nobody, but does what the goroutine would.
func (m *treeMachine) settle(t *rapid.T) {
	require.NoError(t, m.tree.enter(context.Background()))
	defer m.tree.leave()
	for len(m.tree.stale) > 0 {
		require.NoError(t, m.tree.freshen(context.Background(), 3))
	}
}

func (m *treeMachine) isIntact(t *rapid.T) {
	words, err := m.tree.Sync(context.Background())
	require.NoError(t, err)
	require.Empty(t, words)
}

// mayFail lets one of the next requests fail, which the kernel may have carried out or not.
func (m *treeMachine) mayFail(t *rapid.T) {
	n := rapid.IntRange(0, 8).Draw(t, "failing request")
	if n == 0 {
		return
	}
	errno := rapid.SampledFrom([]error{unix.EBUSY, unix.ENOBUFS, unix.ENOMEM}).Draw(t, "errno")
	done := rapid.Bool().Draw(t, "but done")
	m.w.fail = func(operation, *tc.Object) (error, bool) {
		if n--; n == 0 {
			return errno, done
		}
		return nil, false
	}
}

// failed reports whether the injected failure came through, and ends it.
func (m *treeMachine) failed(t *rapid.T, err error) bool {
	m.w.fail = nil
	if err == nil {
		return false
	}
	require.True(t, errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM), "%v", err)
	return true
}

func (m *treeMachine) drawClaim(t *rapid.T, is func(claimOf) bool) Class {
	var found []Class
	for c, claim := range m.claims {
		if is(claim) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		t.Skip("none")
	}
	slices.Sort(found)
	return rapid.SampledFrom(found).Draw(t, "class")
}

func (m *treeMachine) claimed(t *rapid.T, c Class, err error, claim claimOf) {
	if errors.Is(err, ErrExhausted) {
		require.Len(t, m.claims, m.config.most)
		m.w.fail = nil
		return
	}
	if m.failed(t, err) {
		require.Zero(t, c)
		return
	}
	require.NotContains(t, m.claims, c)
	m.claims[c] = claim
}

func (m *treeMachine) Claim(t *rapid.T) {
	limit := drawLimit(t)
	m.mayFail(t)
	c, err := m.tree.Claim(context.Background(), 0, limit)
	m.claimed(t, c, err, claimOf{limit: limit})
}

func (m *treeMachine) ClaimInGroup(t *rapid.T) {
	group := m.drawClaim(t, func(c claimOf) bool { return c.isGroup })
	limit := drawLimit(t)
	m.mayFail(t)
	c, err := m.tree.Claim(context.Background(), group, limit)
	m.claimed(t, c, err, claimOf{limit: limit, group: group})
}

func (m *treeMachine) ClaimGroup(t *rapid.T) {
	limit := drawLimit(t)
	m.mayFail(t)
	c, err := m.tree.ClaimGroup(context.Background(), limit, rapid.IntRange(0, 3).Draw(t, "leaves"))
	m.claimed(t, c, err, claimOf{limit: limit, isGroup: true})
}

func (m *treeMachine) Change(t *rapid.T) {
	c := m.drawClaim(t, func(claimOf) bool { return true })
	claim := m.claims[c]
	claim.limit = drawLimit(t)
	m.claims[c] = claim
	m.mayFail(t)
	if m.failed(t, m.tree.Change(context.Background(), c, claim.limit)) {
		require.NoError(t, m.tree.Change(context.Background(), c, claim.limit))
	}
	require.Zero(t, m.w.writes(func() { require.NoError(t, m.tree.Change(context.Background(), c, claim.limit)) }))
}

func (m *treeMachine) Root(t *rapid.T) {
	m.root = drawLimit(t)
	m.mayFail(t)
	if m.failed(t, m.tree.Root(context.Background(), m.root)) {
		require.NoError(t, m.tree.Root(context.Background(), m.root))
	}
}

func (m *treeMachine) Release(t *rapid.T) {
	c := m.drawClaim(t, func(claimOf) bool { return true })
	for _, other := range m.claims {
		if other.group == c {
			require.ErrorIs(t, m.tree.Release(c), ErrInUse)
			return
		}
	}
	require.Zero(t, m.w.writes(func() { require.NoError(t, m.tree.Release(c)) }))
	delete(m.claims, c)
}

func (m *treeMachine) Grow(t *rapid.T) {
	m.mayFail(t)
	if err := m.tree.Grow(context.Background(), rapid.IntRange(1, 4).Draw(t, "ready")); !errors.Is(err, ErrExhausted) {
		m.failed(t, err)
	}
	m.w.fail = nil
}

// Break does what a passer-by might, and has Sync mend it.
func (m *treeMachine) Break(t *rapid.T) {
	m.settle(t)
	device := rapid.SampledFrom(m.w.devices).Draw(t, "device")
	object := func(c Class, parent uint32) *tc.Object {
		return classParams{rate: 1, ceil: 5000, buffer: 9, cbuffer: 9, quantum: 1500}.object(uint32(device.Index), c, parent)
	}
	what := rapid.SampledFrom([]string{"root", "class", "rate", "queue", "queue parameters", "stray", "stray child"}).Draw(t, "what")
	if m.tree.pool.get(0x998) != nil || m.tree.pool.get(0x999) != nil {
		t.Skip("the strays of before are the tree's now")
	}
	leaf := func() Class { return m.drawClaim(t, func(c claimOf) bool { return !c.isGroup }) }
	var err error
	switch what {
	case "root":
		o := &tc.Object{Msg: tc.Msg{Ifindex: uint32(device.Index), Parent: noParent}}
		o.Kind, o.Pfifo = "pfifo", &tc.FifoOpt{Limit: 10}
		if rapid.Bool().Draw(t, "and another has its handle") {
			require.NoError(t, m.tc.Qdisc().Replace(o))
			o.Handle, o.Kind, o.Bfifo = rootHandle, "bfifo", &tc.FifoOpt{Limit: 10}
		}
		err = m.tc.Qdisc().Replace(o)
	case "class":
		err = m.tc.Class().Delete(object(leaf(), 0))
	case "rate":
		err = m.tc.Class().Replace(object(m.drawClaim(t, func(claimOf) bool { return true }), classID(rootClass)))
	case "queue":
		o := &tc.Object{Msg: tc.Msg{Ifindex: uint32(device.Index), Parent: classID(leaf())}}
		o.Kind, o.Bfifo, o.Pfifo = rapid.SampledFrom([]string{"bfifo", "pfifo"}).Draw(t, "kind"), &tc.FifoOpt{Limit: 7}, &tc.FifoOpt{Limit: 7}
		if err = m.tc.Qdisc().Replace(o); err == nil && o.Kind == "pfifo" && rapid.Bool().Draw(t, "with its handle") {
			o.Handle = queueHandle(Class(o.Parent & 0xffff))
			err = m.tc.Qdisc().Replace(o)
		}
	case "queue parameters":
		o := queueParams{kind: m.tree.queueKind, limit: 77, longest: 9000, quantum: 300}.object(uint32(device.Index), leaf(), false)
		k, dialled := dial(m.w.netns)
		require.NoError(t, dialled)
		err = errors.Join(k.write(changeQdisc, o), k.close())
	case "stray":
		err = m.tc.Class().Add(object(0x999, classID(rootClass)))
	case "stray child":
		c := leaf()
		require.NoError(t, m.tc.Class().Add(object(0x998, classID(c))))
		err = m.tc.Class().Add(object(0x999, classID(0x998)))
	}
	require.NoError(t, err)
	m.mayFail(t)
	words, err := m.tree.Sync(context.Background())
	require.NotEmpty(t, words, what)
	if m.failed(t, err) {
		_, err = m.tree.Sync(context.Background())
		require.NoError(t, err)
	}
	require.Zero(t, m.w.writes(func() { m.isIntact(t) }))
}

func TestTree(t *testing.T) {
	w := newWorld(t)
	reader, err := tc.Open(&tc.Config{NetNS: w.netns})
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	rapid.Check(t, func(rt *rapid.T) {
		m := &treeMachine{w: w, tb: t, tc: reader}
		m.reset(rt)
		defer func() { require.NoError(rt, m.tree.Close()) }()
		rt.Repeat(rapid.StateMachineActions(m))
	})
}
