package wgdev

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// attach makes a TUN by hand, as another program does.
func attach(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	req, err := unix.NewIfreq(name)
	require.NoError(t, err)
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	require.NoError(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, req))
	return fd
}

func TestTUNTaken(t *testing.T) {
	c := dial(t)
	cfg := config(t)
	cannot := func(words ...string) {
		t.Helper()
		_, _, err := NewTUN(c).Open(t.Context(), cfg)
		require.ErrorIs(t, err, link.ErrTaken)
		for _, w := range append(words, "choose another interface name") {
			require.ErrorContains(t, err, w)
		}
	}
	// By another of ours, which goes on.
	d := NewTUN(c)
	start(t, d, cfg)
	cannot("another process has wl0 open: end it")
	_, err := d.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Close(false))

	// By another program's TUN, running or left behind.
	fd := attach(t, testName)
	cannot("not Waylume's")
	require.NoError(t, unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
	require.NoError(t, unix.Close(fd))
	cannot("not Waylume's", "ip link delete wl0")
	fd = attach(t, testName)
	require.NoError(t, unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0))
	require.NoError(t, unix.Close(fd))

	// By an interface of ours that is no TUN.
	l, _, err := c.EnsureLink(testName, link.KindIFB)
	require.NoError(t, err)
	_, _, err = NewTUN(c).Open(t.Context(), cfg)
	require.ErrorIs(t, err, link.ErrTaken)
	require.NoError(t, c.Delete(l.Index))
}

// A TUN of ours that outlived its process is taken, brought down first, and goes with this one.
func TestTUNLeftBehind(t *testing.T) {
	c := dial(t)
	fd := attach(t, testName)
	require.NoError(t, unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
	l, _, err := c.LinkByName(testName)
	require.NoError(t, err)
	_, err = c.Mark(l)
	require.NoError(t, err)
	require.NoError(t, c.EnsureUp(l.Index))
	require.NoError(t, unix.Close(fd))

	d := NewTUN(c)
	got, adopted, err := d.Open(t.Context(), config(t))
	require.NoError(t, err)
	require.False(t, adopted)
	require.Equal(t, l.Index, got.Index)
	require.False(t, got.Up)
	_, err = d.Up(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Close(true))
	_, ok, err := c.LinkByIndex(l.Index)
	require.NoError(t, err)
	require.False(t, ok)
}

// The interface goes behind the device's back.
func TestTUNDeleted(t *testing.T) {
	c := dial(t)
	for _, up := range []bool{true, false} {
		d := NewTUN(c)
		l, _, err := d.Open(t.Context(), config(t))
		require.NoError(t, err)
		if up {
			_, err = d.Up(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, c.Delete(l.Index))
		select {
		case <-d.Failed():
		case <-time.After(30 * time.Second):
			t.Fatal("the device does not notice")
		}
		_, err = d.Status(t.Context())
		require.ErrorIs(t, err, link.ErrNoLink)
		require.ErrorIs(t, d.Set(t.Context(), nil, nil), link.ErrNoLink)
		require.NoError(t, d.Close(false))
		require.True(t, portFree(testPort))
	}
}

// An interface that someone sets down and up again costs nobody a session.
func TestTUNDownAndUp(t *testing.T) {
	c := dial(t)
	cfg, gateway := config(t), netip.MustParseAddr("10.8.0.1")
	d := NewTUN(c)
	l := start(t, d, cfg)
	require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
	psk := key(t)
	peer := newClient(t, cfg.PrivateKey.PublicKey(), psk, netip.MustParseAddr("10.8.0.2"), gateway)
	require.NoError(t, d.Set(t.Context(), nil, []Peer{peer.peer(psk)}))
	require.NoError(t, peer.talk(gateway))
	before := get(t, d)[peer.key.PublicKey()].LastHandshake
	require.NoError(t, c.EnsureDown(l.Index))
	time.Sleep(1100 * time.Millisecond) // the native TUN looks once a second
	require.False(t, portFree(testPort))
	require.NoError(t, c.EnsureUp(l.Index))
	require.NoError(t, peer.talk(gateway))
	require.Equal(t, before, get(t, d)[peer.key.PublicKey()].LastHandshake)
}

// An address of the host goes away to which a peer has sent: what goes to the peer goes from another one.
func TestTUNAddressGone(t *testing.T) {
	c := dial(t)
	cfg, psk, gateway := config(t), key(t), netip.MustParseAddr("10.8.0.1")
	d := NewTUN(c)
	l := start(t, d, cfg)
	require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
	peer := newClient(t, cfg.PrivateKey.PublicKey(), psk, netip.MustParseAddr("10.8.0.2"), gateway)
	require.NoError(t, d.Set(t.Context(), nil, []Peer{peer.peer(psk)}))
	require.NoError(t, peer.talk(gateway))
	near, err := net.InterfaceByName("near")
	require.NoError(t, err)
	var inbox *net.UDPConn
	peer.host.Do(t, func() (err error) {
		inbox, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.8.0.2:9")))
		return err
	})
	defer inbox.Close()
	require.NoError(t, c.EnsureAddresses(near.Index, prefixes("10.1.0.77/24")))
	socket, err := net.Dial("udp", inbox.LocalAddr().String())
	require.NoError(t, err)
	defer socket.Close()
	_, err = socket.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, inbox.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err = inbox.Read(make([]byte, 100))
	require.NoError(t, err)
}

func TestSupported(t *testing.T) {
	c := dial(t)
	require.NoError(t, SupportedTUN(c))
	for _, err := range []error{unix.ENOENT, unix.ENODEV, unix.ENXIO} {
		err = openError(err)
		require.ErrorIs(t, err, wgnode.ErrNotSupported)
		require.ErrorContains(t, err, "modprobe tun")
	}
	for _, err := range []error{unix.EACCES, unix.EPERM} {
		err = openError(err)
		require.NotErrorIs(t, err, wgnode.ErrNotSupported)
		require.ErrorIs(t, err, os.ErrPermission)
		require.ErrorContains(t, err, "CAP_NET_ADMIN")
	}
	require.NotErrorIs(t, openError(unix.EMFILE), wgnode.ErrNotSupported)
}
