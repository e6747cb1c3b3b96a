package link

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/florianl/go-tc"
	"github.com/florianl/go-tc/core"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// log keeps what a monitor reports.
type log struct {
	mu      sync.Mutex
	of      map[int]Kinds
	lost    bool
	reports int
}

func (l *log) take(changes Changes) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[int]Kinds)
	}
	for index, kinds := range changes.Of {
		l.of[index] |= kinds
	}
	l.lost = l.lost || changes.Lost
	l.reports++
}

func (l *log) on(index int) Kinds {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[index]
}

func (l *log) count() (reports int, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reports, l.lost
}

func (l *log) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of, l.lost = nil, false
}

func monitor(t *testing.T) (*Monitor, *log) {
	t.Helper()
	l := new(log)
	m, err := NewMonitor(l.take)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Close())
		require.NoError(t, m.Close(), "again")
		goleak.VerifyNone(t)
	})
	return m, l
}

func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, time.Millisecond, what)
}

func TestMonitor(t *testing.T) {
	c := dial(t)
	m, log := monitor(t)
	ours, other := makeLink(t, c, "wl0"), stranger(t, c, "theirs", KindIFB)
	m.Watch(ours.Index)
	seen := func(index int, kinds Kinds) {
		t.Helper()
		eventually(t, func() bool { return log.on(index)&kinds == kinds }, "a report")
	}
	seen(ours.Index, Links)
	seen(other.Index, Links)
	for _, index := range []int{ours.Index, other.Index} {
		log.forget()
		require.NoError(t, c.EnsureUp(index))
		seen(index, Links)
	}

	log.forget()
	require.NoError(t, c.EnsureAddresses(other.Index, prefixes("10.7.0.1/24", "fd07::1/64")))
	require.NoError(t, c.EnsureRoutes(other.Index, prefixes("10.77.0.0/24", "fd77::/64")))
	require.NoError(t, c.write(unix.RTM_NEWQDISC, createExcl, tcMessage(other.Index, 1<<16, tcRoot, "bfifo")))
	require.NoError(t, c.write(unix.RTM_NEWQDISC, createExcl, tcMessage(ours.Index, 1<<16, tcRoot, "bfifo")))
	seen(ours.Index, Qdiscs)
	require.Zero(t, log.on(other.Index)&(Routes|Qdiscs), "another's routes and qdiscs are not told")
	require.NotZero(t, log.on(other.Index)&Addresses)

	log.forget()
	require.NoError(t, c.EnsureAddresses(ours.Index, prefixes("10.8.0.1/24")))
	seen(ours.Index, Addresses|Routes)
	log.forget()
	require.NoError(t, c.EnsureAddresses(ours.Index, prefixes("10.8.0.1/24", "fd08::1/64")))
	seen(ours.Index, Addresses|Routes)
	log.forget()
	require.NoError(t, c.EnsureRoutes(ours.Index, prefixes("fd09::/64")))
	seen(ours.Index, Routes)
	log.forget()
	require.NoError(t, c.EnsureRoutes(ours.Index, nil))
	seen(ours.Index, Routes)

	// A qdisc takes the root's place; the root is removed.
	log.forget()
	require.NoError(t, c.write(unix.RTM_NEWQDISC, netlink.Create|netlink.Replace, tcMessage(ours.Index, 2<<16, tcRoot, "pfifo")))
	seen(ours.Index, Qdiscs)
	log.forget()
	require.NoError(t, c.write(unix.RTM_DELQDISC, 0, tcMessage(ours.Index, 2<<16, tcRoot, "")))
	seen(ours.Index, Qdiscs)

	log.forget()
	require.NoError(t, c.Delete(ours.Index))
	seen(ours.Index, Links)
}

// tcMessage is a request about a qdisc.
func tcMessage(index int, handle, parent uint32, kind string) []byte {
	b := make([]byte, 4, 64) // struct tcmsg
	for _, word := range []uint32{uint32(index), handle, parent, 0} {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	ae := netlink.NewAttributeEncoder()
	if kind != "" {
		ae.String(unix.TCA_KIND, kind)
	}
	attributes, err := ae.Encode()
	if err != nil {
		panic(err)
	}
	return append(b, attributes...)
}

// Qdiscs below classes come by the thousand and are ours: nothing is told of new ones, but of one that is removed.
func TestMonitorIsNotFlooded(t *testing.T) {
	c := dial(t)
	m, log := monitor(t)
	l := makeLink(t, c, "wl0")
	m.Watch(l.Index)
	htb, class := addHTB(t, l.Index)
	eventually(t, func() bool { return log.on(l.Index)&Qdiscs != 0 }, "the root")
	log.forget()
	leaf := tcMessage(l.Index, 5<<16, 1<<16|2, "pfifo")
	require.NoError(t, c.write(unix.RTM_NEWQDISC, netlink.Create, leaf))
	for range 2000 {
		require.NoError(t, c.write(unix.RTM_NEWQDISC, 0, leaf))
		require.NoError(t, htb.Class().Replace(class))
	}
	// A mark after it all.
	require.NoError(t, c.EnsureUp(l.Index))
	eventually(t, func() bool { return log.on(l.Index)&Links != 0 }, "the mark")
	require.Zero(t, log.on(l.Index)&Qdiscs)
	_, lost := log.count()
	require.False(t, lost)
	require.NoError(t, c.write(unix.RTM_DELQDISC, 0, leaf))
	eventually(t, func() bool { return log.on(l.Index)&Qdiscs != 0 }, "the leaf's removal")
	log.forget()
	require.NoError(t, htb.Class().Delete(class))
	eventually(t, func() bool { return log.on(l.Index)&Qdiscs != 0 }, "the class's removal")
}

// addHTB makes an HTB 1: with a class 1:2.
func addHTB(t *testing.T, index int) (*tc.Tc, *tc.Object) {
	t.Helper()
	require.NoError(t, core.InitializeClock())
	htb, err := tc.Open(&tc.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, htb.Close()) })
	require.NoError(t, htb.Qdisc().Add(&tc.Object{
		Msg:       tc.Msg{Family: unix.AF_UNSPEC, Ifindex: uint32(index), Handle: core.BuildHandle(1, 0), Parent: tc.HandleRoot},
		Attribute: tc.Attribute{Kind: "htb", Htb: &tc.Htb{Init: &tc.HtbGlob{Version: 3, Rate2Quantum: 10}}},
	}))
	spec := tc.RateSpec{Rate: 125_000, Linklayer: 1}
	class := &tc.Object{
		Msg:       tc.Msg{Family: unix.AF_UNSPEC, Ifindex: uint32(index), Handle: core.BuildHandle(1, 2), Parent: core.BuildHandle(1, 0)},
		Attribute: tc.Attribute{Kind: "htb", Htb: &tc.Htb{Parms: &tc.HtbOpt{Rate: spec, Ceil: spec, Buffer: 100_000, Cbuffer: 100_000, Quantum: 3000}}},
	}
	require.NoError(t, htb.Class().Add(class))
	return htb, class
}

// The filter by its words: what passes and what does not.
func TestMonitorFilter(t *testing.T) {
	raw, err := monitorFilter()
	require.NoError(t, err)
	instructions, ok := bpf.Disassemble(raw)
	require.True(t, ok)
	vm, err := bpf.NewVM(instructions)
	require.NoError(t, err)
	for _, c := range []struct {
		kind   uint16
		parent uint32
		pass   bool
	}{
		{unix.RTM_NEWLINK, 0, true}, {unix.RTM_DELLINK, 0, true}, {unix.RTM_NEWADDR, 0, true}, {unix.RTM_DELADDR, 0, true},
		{unix.RTM_NEWROUTE, 0, true}, {unix.RTM_DELROUTE, 0, true}, {unix.RTM_DELQDISC, 1<<16 | 7, true}, {unix.RTM_DELTCLASS, 1 << 16, true},
		{unix.RTM_NEWQDISC, tcRoot, true}, {unix.RTM_NEWQDISC, tcIngress, true},
		{unix.RTM_NEWQDISC, 1<<16 | 7, false}, {unix.RTM_NEWTCLASS, 1 << 16, false}, {unix.RTM_NEWTFILTER, tcRoot, false}, {unix.RTM_DELTFILTER, tcRoot, false},
	} {
		b := make([]byte, unix.SizeofNlMsghdr)
		binary.NativeEndian.PutUint16(b[4:], c.kind)
		n, err := vm.Run(slices.Concat(b, tcMessage(3, 0, c.parent, "")))
		require.NoError(t, err)
		require.Equal(t, c.pass, n > 0, "type %d parent %#x", c.kind, c.parent)
	}
}
