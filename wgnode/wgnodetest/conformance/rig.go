package conformance

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// Rig is a dataplane under test with a world around it: the devices of peers on one side, and on the other side all that
// peers try to reach. The suite asks for a fresh one for each test.
type Rig interface {
	// Dataplane returns a dataplane that has not been started. Each call returns another one; a second one is started only
	// when the one before it was closed, as after a restart of the process.
	Dataplane() (wgnode.Dataplane, error)

	// Connect plays a peer's device: packets read from dev go into the tunnel that cfg describes, and packets from the
	// tunnel are written to dev. It must not wait for the node to answer. Closing the link closes dev.
	Connect(dev tun.Device, cfg wgnode.ClientConfig) (io.Closer, error)

	// ListenTCP listens where a peer's connections to addr arrive, if they leave the node. The address may stand for a
	// host on the internet, one in a private network or the node's own host, and the rig sees to it that nothing but the
	// dataplane is in the way. An address that cannot exist in this rig is an error that matches errors.ErrUnsupported.
	ListenTCP(addr netip.AddrPort) (net.Listener, error)

	// ListenUDP is ListenTCP for datagrams.
	ListenUDP(addr netip.AddrPort) (net.PacketConn, error)

	// Close takes the world down, after the last dataplane was closed.
	Close() error
}

// EchoRig is a rig that can have a host answer ICMP echo requests.
type EchoRig interface {
	// AnswerEcho makes the host at addr answer echo requests. Where it is an error that matches errors.ErrUnsupported,
	// echo is not tested.
	AnswerEcho(addr netip.Addr) error
}

// HostRig is a rig that knows addresses of the node's own host, other than loopback, which no peer may reach.
type HostRig interface {
	HostAddrs() []netip.Addr
}

// UnreachableRig is a rig in which some addresses can be listened at that nothing can reach from a peer, whatever a policy
// says: a kernel takes packets to its loopback from no other link.
type UnreachableRig interface {
	// Unreachable reports whether addr is such an address. That nothing reaches it is asserted under every policy.
	Unreachable(addr netip.Addr) bool
}

// WatchedRig is a rig that sees every packet that leaves the node for anywhere but its peers.
type WatchedRig interface {
	// Left reports whether a packet to an address has left, ever.
	Left(dst netip.Addr) bool
}

// DisturbableRig is a rig in which somebody else can change what is the dataplane's.
type DisturbableRig interface {
	// Disturb takes a peer out of the dataplane that runs, behind its node's back.
	Disturb(peer wgtypes.Key) error
}

// ObstructableRig is a rig that can make a Start fail after part of it was done.
type ObstructableRig interface {
	// Obstruct makes Start with cfg, which it may change, fail until release is called.
	Obstruct(cfg *wgnode.DataplaneConfig) (release func(), err error)
}

// ConnectWireGuard is Connect for a dataplane that speaks WireGuard over UDP: the peer's device is wireguard-go as it is.
func ConnectWireGuard(dev tun.Device, cfg wgnode.ClientConfig) (io.Closer, error) {
	wg := device.NewDevice(dev, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	var uapi strings.Builder
	fmt.Fprintf(&uapi, "private_key=%x\npublic_key=%x\npreshared_key=%x\n", cfg.PrivateKey[:], cfg.ServerKey[:], cfg.PresharedKey[:])
	fmt.Fprintf(&uapi, "endpoint=%s\npersistent_keepalive_interval=%d\n", cfg.Endpoint, cfg.Keepalive/time.Second)
	for _, prefix := range cfg.AllowedIPs {
		fmt.Fprintf(&uapi, "allowed_ip=%s\n", prefix)
	}
	err := wg.IpcSet(uapi.String())
	if err == nil {
		err = wg.Up()
	}
	if err != nil {
		wg.Close()
		return nil, fmt.Errorf("bring up the peer's device: %w", err)
	}
	return wireguardLink{wg}, nil
}

type wireguardLink struct{ device *device.Device }

func (l wireguardLink) Close() error {
	l.device.Close()
	return nil
}
