package userspace

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/internal/path"
	"github.com/waylume/waylume/wgnode/internal/wggo"
)

// sweepInterval is how often idle flows are looked for.
const sweepInterval = 15 * time.Second

// Dataplane is a wgnode.Dataplane inside the process. It serves one node, once.
type Dataplane struct {
	cfg      Config
	buffers  buffers
	tasks    tasks
	drops    drops
	sockets  sockets
	holdings holders

	mu     sync.Mutex // serialises changes, Start and Close; guards what is below
	state  lifecycle
	ran    bool // it has been started
	fixed  wgnode.DataplaneConfig
	tun    *tunDevice
	device *wggo.Device
	stack  *stack.Stack
	link   *link
	path   *path.Path
	stop   context.CancelFunc // ends the background tasks
	done   chan struct{}      // closed when Close has joined everything
}

// lifecycle is where a dataplane is between New and Close: new -> running -> closed, or new -> closed.
type lifecycle int

const (
	isNew lifecycle = iota
	isRunning
	isClosed
)

var _ wgnode.Dataplane = (*Dataplane)(nil)

// New checks cfg and returns a dataplane that has touched nothing yet. The error names every field that is out of range.
func New(cfg Config) (*Dataplane, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("userspace: %w", err)
	}
	dp := &Dataplane{cfg: cfg, sockets: sockets{rest: socketsRest}, done: make(chan struct{})}
	dp.holdings = holders{
		limits: cfg.Limits, all: make(map[wgtypes.Key]*holdings), leaving: make(map[wgtypes.Key]bool),
		owner: func(addr netip.Addr) (wgtypes.Key, bool) { return dp.path.Holder(addr) },
	}
	return dp, nil
}

// Start opens the UDP socket and brings up the device, with everything in want in force. A dataplane whose start failed
// is closed, and nothing of it is left.
func (dp *Dataplane) Start(ctx context.Context, cfg wgnode.DataplaneConfig, want wgnode.State) (wgnode.DataplaneInfo, error) {
	dp.mu.Lock()
	switch {
	case dp.state == isClosed:
		dp.mu.Unlock()
		return wgnode.DataplaneInfo{}, wgnode.ErrClosed
	case dp.state == isRunning:
		dp.mu.Unlock()
		return wgnode.DataplaneInfo{}, errors.New("userspace: started before: a dataplane serves one node, once")
	}
	err := ctx.Err()
	var info wgnode.DataplaneInfo
	if err == nil {
		info, err = dp.startLocked(cfg, want)
	}
	if err == nil {
		dp.state, dp.ran = isRunning, true
	}
	dp.mu.Unlock()
	if err != nil {
		return wgnode.DataplaneInfo{}, errors.Join(fmt.Errorf("start the userspace dataplane: %w", err), dp.Close())
	}
	return info, nil
}

func (dp *Dataplane) startLocked(cfg wgnode.DataplaneConfig, want wgnode.State) (wgnode.DataplaneInfo, error) {
	hostAddrs, err := dp.cfg.HostAddresses()
	if err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	dp.fixed = cfg
	packets := newHandoff()
	if dp.path, err = path.New(path.Config{
		MTU: cfg.MTU, Pool: cfg.Pool, Host: hostAddrs, FlowsPerPeer: dp.cfg.Limits.TrackedFlows,
		ToPeers: packets.push,
		ToNet:   func(raws [][]byte) { dp.link.inject(raws) },
		// From a goroutine of its own: a budget that is used up when it is set is reported while the lock is held.
		Notify: func(e wgnode.DataplaneEvent) { dp.tasks.run(func() { cfg.Notify(e) }) },
	}); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	dp.link = newLink(cfg.MTU, dp.path.NewPacket, dp.path.FromNet)
	if dp.stack, err = newStack(dp.link); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	forward, grams := newTCPForwarder(dp, dp.stack), &datagrams{dp: dp, stack: dp.stack}
	dp.link.divert = func(raw []byte) bool {
		if grams.handlePlain(raw) {
			return true
		}
		forward.reopen(raw)
		return false
	}
	dp.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, forward.handle)
	dp.stack.SetTransportProtocolHandler(udp.ProtocolNumber, grams.handleUDP)
	dp.stack.SetTransportProtocolHandler(icmp.ProtocolNumber4, grams.handleICMP)
	dp.stack.SetTransportProtocolHandler(icmp.ProtocolNumber6, grams.handleICMP)
	dp.path.Start()

	dp.tun = newTunDevice(cfg.MTU, packets, dp.path.FromPeer)
	if dp.device, err = wggo.New(dp.tun, wggo.Config{
		PrivateKey: cfg.PrivateKey, FormerKey: cfg.FormerKey, ListenPort: cfg.ListenPort, Logger: cfg.Logger,
		InFlight: dp.cfg.inFlight,
	}); err != nil {
		return wgnode.DataplaneInfo{}, fmt.Errorf("configure the device: %w", err)
	}
	change, _ := dp.path.Want().Diff(want)
	if err := dp.applyLocked(change); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	port, err := dp.device.Up()
	if err != nil {
		return wgnode.DataplaneInfo{}, fmt.Errorf("open UDP port %d: %w", cfg.ListenPort, err)
	}
	dp.background(hostAddrs)
	return wgnode.DataplaneInfo{Name: "userspace", ListenPort: port, Limitations: dp.limitations()}, nil
}

func (dp *Dataplane) limitations() []string {
	limits := []string{"protocols other than TCP, UDP and ICMP echo cannot leave the host without privilege"}
	if dp.cfg.systemDial {
		limits = append(limits, echoLimitations()...)
	}
	return limits
}

// background starts what runs until Close: the search for idle flows, the watch on the host's addresses and the watch on
// the device.
func (dp *Dataplane) background(hostAddrs []netip.Addr) {
	ctx, cancel := context.WithCancel(context.Background())
	dp.stop = cancel
	dp.tasks.run(func() { dp.sweep(ctx) })
	dp.tasks.run(func() { dp.watchHost(ctx, hostAddrs) })
	dp.tasks.run(func() { dp.watchDevice(ctx) })
}

func (dp *Dataplane) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			dp.holdings.sweep(now)
			dp.path.Sweep()
		}
	}
}

// watchHost keeps the host's own addresses closed to peers as they come and go. When they cannot be read, the last ones
// that could stay closed.
func (dp *Dataplane) watchHost(ctx context.Context, known []netip.Addr) {
	ticker := time.NewTicker(dp.cfg.HostAddressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		addrs, err := dp.cfg.HostAddresses()
		if err == nil && !slices.Equal(addrs, known) {
			dp.mu.Lock()
			if dp.state == isRunning {
				err = dp.path.SetHost(addrs)
			}
			dp.mu.Unlock()
			known = addrs
		}
		if err != nil {
			dp.fixed.Logger.Error("the host's addresses are not up to date", "error", err)
		}
	}
}

// watchDevice reports a device that has stopped by itself, as it does when its socket fails for good.
func (dp *Dataplane) watchDevice(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-dp.device.Failed():
		dp.fixed.Notify(wgnode.DataplaneEvent{Kind: wgnode.DataplaneFailed, Err: fmt.Errorf("userspace: the WireGuard device stopped: %w", dp.device.Cause())})
	}
}

// Close stops all traffic and joins every goroutine. It may be called at any time, more than once and at once.
func (dp *Dataplane) Close() error {
	dp.mu.Lock()
	if dp.state == isClosed {
		dp.mu.Unlock()
		<-dp.done
		return nil
	}
	dp.state = isClosed
	dp.mu.Unlock()

	// From here on nothing changes the fields: first the way in from peers ends, then what waits for its turn, uncounted, then
	// the flows, which let go what was counted, then the stack.
	if dp.stop != nil {
		dp.stop()
	}
	if dp.tun != nil {
		_ = dp.tun.Close() // lets the path go on where it waits for the device; never fails
	}
	if dp.device != nil {
		dp.device.Close()
	}
	if dp.path != nil {
		dp.path.Close()
	}
	dp.holdings.close()
	if dp.stack != nil {
		dp.stack.Close() // ends handshakes, which tasks wait for
	}
	dp.tasks.wait()
	if dp.stack != nil {
		dp.stack.Destroy()
	}
	close(dp.done)
	return nil
}

// gateway returns the node's own tunnel address of the family of addr.
func (dp *Dataplane) gateway(addr netip.Addr) (netip.Addr, bool) {
	for _, own := range dp.fixed.Addresses {
		if own.Addr().Is4() == addr.Is4() {
			return own.Addr(), true
		}
	}
	return netip.Addr{}, false
}
