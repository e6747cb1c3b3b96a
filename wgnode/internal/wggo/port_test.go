package wggo

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// watchedBind is a port that tells what is done to it.
type watchedBind struct {
	conn.Bind
	shut   func() // after Close
	opened atomic.Int32
	marked atomic.Uint32 // of the sockets that are open
}

func (b *watchedBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.marked.Store(0)
	fns, actual, err := b.Bind.Open(port)
	if err == nil {
		b.opened.Add(1)
	}
	return fns, actual, err
}

func (b *watchedBind) SetMark(mark uint32) error {
	b.marked.Store(mark)
	return nil
}

func (b *watchedBind) Close() error {
	err := b.Bind.Close()
	if b.shut != nil {
		b.shut()
	}
	return err
}

// watched replaces the device of a new node by one whose port is watched.
func watched(t *testing.T, key, former wgtypes.Key) (*node, *watchedBind) {
	t.Helper()
	n, bind := &node{t: t}, &watchedBind{Bind: conn.NewDefaultBind()}
	n.tun = newPipe(func([]byte) {})
	var err error
	n.Device, err = newDevice(n.tun, bind, Config{PrivateKey: key, FormerKey: former, FirewallMark: 7})
	require.NoError(t, err)
	t.Cleanup(n.Close)
	n.port, err = n.Up()
	require.NoError(t, err)
	return n, bind
}

// A source address that the system refuses is left out. What else goes wrong is told.
func TestSourceGone(t *testing.T) {
	bind := &refusing{Bind: conn.NewDefaultBind()}
	m := &mux{bind: bind}
	ep, err := bind.ParseEndpoint("127.0.0.1:9")
	require.NoError(t, err)
	for _, c := range []struct {
		refuse error
		want   []bool // whether what is sent has a source address
		err    error
	}{
		{nil, []bool{true}, nil},
		{&net.OpError{Err: os.NewSyscallError("sendmsg", syscall.EINVAL)}, []bool{true, false}, nil},
		{&net.OpError{Err: os.NewSyscallError("sendmsg", syscall.ENETUNREACH)}, []bool{true, false}, nil},
		{&net.OpError{Err: os.NewSyscallError("sendmsg", syscall.ENODEV)}, []bool{true, false}, nil},
		{&net.OpError{Err: os.NewSyscallError("sendmsg", syscall.EPERM)}, []bool{true}, syscall.EPERM},
		{conn.ErrUDPGSODisabled{}, []bool{true}, conn.ErrUDPGSODisabled{}},
	} {
		bind.refuse, bind.sent = c.refuse, nil
		err := m.send([][]byte{{1}}, sourced{ep})
		require.Equal(t, c.want, bind.sent)
		require.ErrorIs(t, err, c.err)
	}
}

// refusing is a port that refuses to send from a source address.
type refusing struct {
	conn.Bind
	refuse error
	sent   []bool
}

func (b *refusing) Send(_ [][]byte, ep conn.Endpoint) error {
	_, has := ep.(sourced)
	b.sent = append(b.sent, has)
	if has {
		return b.refuse
	}
	return nil
}

// sourced is an endpoint with a source address.
type sourced struct{ conn.Endpoint }

// The port is opened anew when the former key goes, and then only, with the mark of before.
func TestPortOpensAnew(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n, bind := watched(t, a, none)
	n.setKeys(b, a)
	n.setKeys(a, none)
	n.setKeys(b, a)
	require.EqualValues(t, 1, bind.opened.Load())
	require.EqualValues(t, 7, bind.marked.Load())

	// Another program has the port for a moment.
	var other *net.UDPConn
	bind.shut = func() {
		var err error
		other, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(n.port)})
		require.NoError(t, err)
		bind.shut = nil
		time.AfterFunc(50*time.Millisecond, func() { _ = other.Close() })
	}
	n.setKeys(b, none)
	require.EqualValues(t, 2, bind.opened.Load())
	require.EqualValues(t, 7, bind.marked.Load())
	port, err := n.Up()
	require.NoError(t, err)
	require.Equal(t, n.port, port)
	require.NoError(t, n.Cause())
}

// Where another program keeps the port, the device says that it has failed, and why.
func TestPortLost(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n, bind := watched(t, b, a)
	var other *net.UDPConn
	bind.shut = func() {
		if other == nil {
			var err error
			other, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(n.port)})
			require.NoError(t, err)
		}
	}
	err := n.SetKeys(t.Context(), b, none, nil)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	<-n.Failed()
	require.ErrorIs(t, n.Cause(), syscall.EADDRINUSE)
	require.ErrorIs(t, n.SetKeys(t.Context(), a, none, nil), syscall.EADDRINUSE)
	require.ErrorIs(t, n.Set(t.Context(), nil, nil), syscall.EADDRINUSE)
	_, err = n.Up()
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	n.Close()
	require.NoError(t, other.Close())
}

// A TUN that cannot be left takes the device with it.
func TestTUNCannotBeLeft(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNode(t, b, a)
	n.tun.mu.Lock()
	n.tun.stuck = errors.New("no deadlines")
	n.tun.mu.Unlock()
	require.ErrorContains(t, n.SetKeys(t.Context(), b, none, nil), "no deadlines")
	<-n.Failed()
	require.ErrorContains(t, n.Cause(), "no deadlines")
}

// The device fails when its TUN does, with one key or two.
func TestTUNFails(t *testing.T) {
	for _, former := range []wgtypes.Key{none, newKey(t)} {
		n := newNode(t, newKey(t), former)
		require.NoError(t, n.tun.Close())
		<-n.Failed()
		require.Error(t, n.Cause())
		require.Error(t, n.SetKeys(t.Context(), newKey(t), none, nil))
	}
}
