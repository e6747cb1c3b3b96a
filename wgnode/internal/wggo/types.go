package wggo

import (
	"log/slog"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TUN is a tunnel whose reader can be told not to wait. Of its events only those of the MTU are looked at.
type TUN interface {
	tun.Device
	// Interrupt has a Read that waits return no packet and an error that matches os.ErrDeadlineExceeded, and so every other one
	// until it is called with false. No packet is lost by it.
	Interrupt(on bool) error
}

// Config is what stays fixed while a device lives, but for the keys.
type Config struct {
	// PrivateKey is the node's WireGuard private key.
	PrivateKey wgtypes.Key
	// FormerKey is another one, whose peers are served just the same; zero for none.
	FormerKey wgtypes.Key
	// ListenPort is the UDP port; 0 lets the system choose.
	ListenPort uint16
	// FirewallMark is the mark of WireGuard's own packets; 0 for none. Linux only, with CAP_NET_ADMIN.
	FirewallMark uint32
	// Idle is how long a peer is not heard from until it leaves wireguard-go, which should have no session for it any more: 200 s or
	// more but for tests, 0 for 540 s. Who was heard from in the last third of it does not leave for another one.
	Idle time.Duration
	// MaxActive is how many peers are in wireguard-go at a time, each with about 25 KB and two goroutines, 1 to 65,000; 0 for 60,000.
	// A peer with sessions of both keys is two.
	MaxActive int
	// InFlight is how many messages may be inside the device in each direction before more wait outside, which bounds its memory;
	// 0 is 128 for each processor, and 256 at least, and less than 0 is no bound.
	InFlight int
	// Logger takes what wireguard-go has to say; nil discards it.
	Logger *slog.Logger
}

// Peer is what a device is told of a peer.
type Peer struct {
	PublicKey wgtypes.Key
	// PresharedKey is zero for none.
	PresharedKey wgtypes.Key
	// AllowedIPs are where the peer may send from, and what is sent to it.
	AllowedIPs []netip.Prefix
	// Keepalive is the interval of persistent keepalives, whole seconds to 65,535; 0 sends none.
	Keepalive time.Duration
}

// PeerStatus is a peer as a device has it.
type PeerStatus struct {
	Peer
	// LastHandshake is zero when there was none with a key that the device still has.
	LastHandshake time.Time
	// FormerKey says that the last handshake was with the former key.
	FormerKey bool
	// Endpoint is not valid when none is known.
	Endpoint netip.AddrPort
	// ReceivedBytes and SentBytes are outer bytes, WireGuard's own included, since the device knows the peer.
	ReceivedBytes, SentBytes uint64
}

// Status is what a device has besides what it is told when it is made.
type Status struct {
	// PrivateKey and FormerKey are those that it has, whoever set them.
	PrivateKey, FormerKey wgtypes.Key
	// ListenPort is the UDP port; 0 before Up, if the system chooses.
	ListenPort uint16
	// Peers are in no order.
	Peers []PeerStatus
	// Active is how many of them are in wireguard-go.
	Active int
	// TurnedAway is how many handshakes of peers were not answered, as MaxActive others were busy.
	TurnedAway uint64
}
