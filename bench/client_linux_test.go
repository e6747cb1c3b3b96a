package bench

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// client is a host with a tunnel to an exit, through which everything goes.
type client struct {
	*netns.Namespace
	process *process
	peer    peer
	exit    *exit
}

// clientOrder is what the client's process has to set up.
type clientOrder struct {
	Private, Server wgtypes.Key
	Endpoint        netip.AddrPort
	Plain           bool
}

// Links of a client.
const (
	tunnelLink = "wg0"
	outerLink  = "up0"
)

// connect makes a host with stock WireGuard on a TUN, and returns when the tunnel stands. It goes with the benchmark.
func (s *site) connect(tb testing.TB, x *exit, p peer) *client {
	tb.Helper()
	return s.connectAs(tb, x, p, false)
}

// connectAs is connect; the TUN of a plain client offloads nothing, so that the kernel looks at each packet and its checksums.
func (s *site) connectAs(tb testing.TB, x *exit, p peer, plain bool) *client {
	tb.Helper()
	c := &client{Namespace: netns.New(tb), peer: p, exit: x}
	i := s.clients
	s.clients++
	network := func(host byte) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16 + byte(i>>8), byte(i), host}), 24)
	}
	host := network(1)
	netns.Veth(tb, netns.End{Name: fmt.Sprintf("client%d", i), Addrs: []netip.Prefix{host}},
		netns.End{Namespace: c.Namespace, Name: outerLink, Addrs: []netip.Prefix{network(2)}})
	c.process = startProcess(tb, role{name: roleClient, in: c.Namespace, privileged: true})
	c.process.call(tb, request{Kind: askStart, Client: clientOrder{
		Private: p.private, Server: x.public, Endpoint: x.endpoint(host.Addr()), Plain: plain,
	}})
	var addrs []netip.Prefix
	for _, a := range p.Addrs {
		addrs = append(addrs, netip.PrefixFrom(a, a.BitLen()))
	}
	setUp(tb, c.Namespace, tunnelLink, addrs)
	for _, everything := range prefixes("0.0.0.0/0", "::/0") {
		netns.AddRoute(tb, c.Namespace, tunnelLink, everything, netip.Addr{})
	}
	c.process.call(tb, request{Kind: askUp})
	return c
}

func setUp(tb testing.TB, n *netns.Namespace, link string, addrs []netip.Prefix) {
	tb.Helper()
	netns.SetUp(tb, n, link)
	for _, addr := range addrs {
		netns.AddAddr(tb, n, link, addr)
	}
}

// usage is what the client's process takes of the machine.
func (c *client) usage(tb testing.TB) usage {
	tb.Helper()
	return c.process.usage(tb)
}

// clientService is the process of a client.
type clientService struct {
	device *device.Device
}

func (s *clientService) tell(func(event)) {}

func (s *clientService) answer(r request) (answer reply, err error) {
	switch r.Kind {
	case askStart:
		err = s.start(r.Client)
	case askUp:
		err = s.up()
	default:
		err = fmt.Errorf("a client knows nothing of %q", r.Kind)
	}
	return answer, err
}

func (s *clientService) start(o clientOrder) error {
	create := tun.CreateTUN
	if o.Plain {
		create = createPlainTUN
	}
	t, err := create(tunnelLink, tunnelMTU)
	if err != nil {
		return err
	}
	s.device = device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	return s.device.IpcSet(fmt.Sprintf(
		"private_key=%x\npublic_key=%x\nendpoint=%s\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\npersistent_keepalive_interval=25\n",
		o.Private[:], o.Server[:], o.Endpoint))
}

// createPlainTUN makes a TUN without the header by which packets of a virtual network card say what is still to be done to them.
func createPlainTUN(name string, mtu int) (tun.Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, fmt.Errorf("make the TUN %s: %w", name, err)
	}
	return tun.CreateTUNFromFile(os.NewFile(uintptr(fd), name), mtu)
}

// up opens the socket and waits for the handshake, which the first keepalive asks for.
func (s *clientService) up() error {
	if err := s.device.Up(); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < patience/2; time.Sleep(time.Millisecond) {
		report, err := s.device.IpcGet()
		if err != nil {
			return err
		}
		if seconds := value(report, "last_handshake_time_sec"); seconds != "" && seconds != "0" {
			return nil
		}
	}
	return fmt.Errorf("no handshake after %v", patience/2)
}

func (s *clientService) close() error {
	if s.device != nil {
		s.device.Close()
	}
	return nil
}
