package wgdev

import (
	"context"
	"log/slog"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/internal/wggo"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// Config is what stays fixed while a device is open.
type Config struct {
	// Name is that of the interface, 1 to 15 bytes.
	Name string
	// PrivateKey is the node's WireGuard private key.
	PrivateKey wgtypes.Key
	// FormerKey is another one, whose peers are served just the same; zero for none. The module serves PrivateKey alone.
	FormerKey wgtypes.Key
	// ListenPort is the UDP port; 0 keeps the port of an adopted device, and lets the system choose for a new one.
	ListenPort uint16
	// FirewallMark is the mark of WireGuard's own packets; 0 for none.
	FirewallMark uint32
	// MTU is the largest inner packet in bytes, 1280 to 9000.
	MTU int
	// Logger takes what wireguard-go has to say; nil discards it.
	Logger *slog.Logger
}

type (
	// Peer is what a device, wireguard-go's or the module's, is told of a peer.
	Peer = wggo.Peer
	// PeerStatus is a peer as a device has it.
	PeerStatus = wggo.PeerStatus
	// Status is what a device has besides what it is told when it is opened.
	Status = wggo.Status
)

// Device is one WireGuard device. Open comes first, once; Close may come at any time, more than once, and ends what is under
// way. Status, Set and SetKeys may be called by several goroutines.
type Device interface {
	Lifecycle
	// Status reads the private keys and all peers.
	Status(ctx context.Context) (Status, error)
	// Set removes peers, then adds peers or replaces what the device was told of them; sessions of those that stay go on.
	// Removing one that is not there is no error. A prefix that two peers have is the last one's. What is so already is
	// written all the same. After an error some of it may have been done.
	Set(ctx context.Context, remove []wgtypes.Key, set []Peer) error
	// SetKeys gives the device other keys: its own, and a former one or zero, with these peers and no others. A session that was
	// made with one of the two goes on. Every other one ends, also those that WireGuard itself would let a peer send in for some
	// minutes more. A former key gives an error that matches [wgnode.ErrNotSupported] where there is room for one key alone. After
	// another error some of it may have been done.
	SetKeys(ctx context.Context, key, former wgtypes.Key, peers []Peer) error
}

// Lifecycle is how a device comes and goes.
type Lifecycle interface {
	// Open makes the interface, down and with no UDP socket, or adopts one of ours: then it stays up if it was up, and its
	// peers and their sessions stay, unless it has another key: then it has no peers. MTU, key, port and mark are written
	// only where they differ. A name that someone else has gives an error that matches [link.ErrTaken]. An Open that fails
	// leaves nothing behind that it has made.
	Open(ctx context.Context, cfg Config) (l link.Link, adopted bool, err error)
	// Up opens the UDP socket, sets the interface up and returns the port. It changes nothing where both are so. A port that
	// another program has gives an error that matches unix.EADDRINUSE; Up may be tried again.
	Up(ctx context.Context) (port uint16, err error)
	// Failed is closed when the device has ended by itself: its interface was deleted. The module's never is, see
	// [link.Monitor] for that.
	Failed() <-chan struct{}
	// Close ends the device and removes the interface; with keep the module's stays as it is for the next Open to adopt.
	// A TUN ends either way.
	Close(keep bool) error
}

var (
	_ Device = (*Module)(nil)
	_ Device = (*TUN)(nil)
)
