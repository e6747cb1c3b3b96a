package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/shaping/htb"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/internal/desired"
	"github.com/waylume/waylume/wgnode/kernel/internal/flows"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/kernel/internal/sysctl"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// Dataplane is a wgnode.Dataplane in the Linux kernel. It serves one node, once.
type Dataplane struct {
	cfg   Config
	fixed wgnode.DataplaneConfig

	// turn is held by whoever changes something, netlink calls included; it can be given up waiting for.
	turn  chan struct{}
	links *link.Conn
	nft   *nft.Conn
	// What is only looked at, which no change waits for: counters and quotas by objects, all else by reads.
	reads   *nft.Conn
	objects *nft.Reader
	lock    *net.UnixListener
	// chosen is never DriverAuto; flowsKnown says that conntrack's flows can be listed and ended, unserved that the former key
	// which the node has is of no use with the module.
	chosen     Driver
	flowsKnown bool
	unserved   bool

	link     link.Link // the tunnel's
	ifb      link.Link
	tree     *htb.Tree
	planner  *shaping.Planner
	host     []netip.Addr
	policy   *rules.Policy
	set      *desired.Set
	sysctls  []sysctl.Saved
	port     uint16
	allowed  []netip.Prefix // to the control ports
	watchers *watchers
	poll     time.Duration
	pending  []subject // to be reported when all holds
	hearing  *hearing
	foreign  atomic.Bool // other firewalls changed since closed was read
	closed   []string    // tables of theirs that drop peers' packets and cannot be opened
	// vacated are addresses of former peers, whose flows conntrack still has.
	vacated map[netip.Addr]bool
	tasks   sync.WaitGroup

	mu      sync.RWMutex // guards what Stats reads: changed with turn held
	life    lifecycle
	device  wgdev.Device
	records *records
	node    shaping.Limit
	seen    map[string]quota.Counters // what was last read, by meter
	setBack map[string]bool           // meters of which less was read than before, until their quotas are made anew
	last    *wgnode.Stats             // of all, once the dataplane has run and is closed
}

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
		return nil, fmt.Errorf("kernel: %w", err)
	}
	return &Dataplane{
		cfg: cfg, turn: make(chan struct{}, 1), poll: poll, records: newRecords(), set: desired.New(), allowed: cfg.ControlAllow,
		seen: make(map[string]quota.Counters), setBack: make(map[string]bool), vacated: make(map[netip.Addr]bool), hearing: newHearing(),
	}, nil
}

// enter waits for the turn and checks that the dataplane runs.
func (dp *Dataplane) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case dp.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch dp.life {
	case isNew:
		dp.leave()
		return wgnode.ErrNotStarted
	case isClosed:
		dp.leave()
		return wgnode.ErrClosed
	}
	return nil
}

func (dp *Dataplane) leave() { <-dp.turn }

// Start makes the interface, or adopts what an earlier process left of the same name, with everything in want in force. A
// dataplane whose start failed is closed, and nothing of it is left.
func (dp *Dataplane) Start(ctx context.Context, cfg wgnode.DataplaneConfig, want wgnode.State) (wgnode.DataplaneInfo, error) {
	dp.turn <- struct{}{}
	switch {
	case dp.life == isClosed:
		dp.leave()
		return wgnode.DataplaneInfo{}, wgnode.ErrClosed
	case dp.life == isRunning:
		dp.leave()
		return wgnode.DataplaneInfo{}, errors.New("kernel: started before: a dataplane serves one node, once")
	}
	dp.fixed = cfg
	info, err := dp.start(ctx, want)
	if err != nil {
		err = errors.Join(fmt.Errorf("start the kernel dataplane: %w", err), dp.end(false))
		dp.leave()
		return wgnode.DataplaneInfo{}, err
	}
	dp.setLife(isRunning)
	dp.leave()
	return info, nil
}

func (dp *Dataplane) start(ctx context.Context, want wgnode.State) (wgnode.DataplaneInfo, error) {
	if err := ctx.Err(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	change, _ := dp.set.Diff(want)
	if err := dp.set.Check(change); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	var err error
	if dp.planner, err = shaping.NewPlanner(dp.fixed.MTU, shaping.Tuning{}); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	if err := dp.claimName(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	if dp.links, err = link.Dial(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	if dp.nft, err = nft.Dial(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	if dp.reads, err = nft.Dial(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	if dp.objects, err = nft.DialReader(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	if dp.chosen, err = dp.driver(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	if dp.chosen == DriverModule && dp.fixed.FormerKey != (wgtypes.Key{}) {
		dp.fixed.FormerKey, dp.unserved = wgtypes.Key{}, true
	}
	dp.flowsKnown = flows.Supported() == nil
	if _, err := dp.bring(ctx, want, false); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	dp.set.Record(change)
	if dp.watchers, err = dp.watch(); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	limitations, err := dp.limitations()
	return wgnode.DataplaneInfo{Name: "kernel", ListenPort: dp.port, Limitations: limitations}, err
}

// claimName keeps a second process, or a second dataplane of this one, from the interface. The name is in the abstract
// namespace of unix sockets: one for each network namespace, free at once when the process ends, however it does.
func (dp *Dataplane) claimName() (err error) {
	address := &net.UnixAddr{Net: "unix", Name: "@waylume/" + dp.cfg.Interface}
	dp.lock, err = net.ListenUnix("unix", address)
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("interface %s is served by another dataplane that runs on this host: choose another Interface, or stop that one",
			dp.cfg.Interface)
	}
	return err
}

// driver decides who speaks WireGuard.
func (dp *Dataplane) driver() (Driver, error) {
	module := wgdev.SupportedModule(dp.links)
	switch {
	case dp.cfg.Driver == DriverModule:
		return DriverModule, module
	case dp.cfg.Driver == DriverAuto && module == nil:
		return DriverModule, nil
	}
	return DriverTUN, wgdev.SupportedTUN(dp.links)
}

func (dp *Dataplane) newDevice() wgdev.Device {
	if dp.chosen == DriverModule {
		return wgdev.NewModule(dp.links)
	}
	return wgdev.NewTUN(dp.links)
}

func (dp *Dataplane) setLife(l lifecycle) {
	dp.mu.Lock()
	defer dp.mu.Unlock()
	dp.life = l
}

func (dp *Dataplane) setDeviceTo(d wgdev.Device) {
	dp.mu.Lock()
	defer dp.mu.Unlock()
	dp.device = d
}

// Close ends all traffic and leaves the host as it was found; with Config.KeepOnClose everything goes on without a process.
// It may be called at any time, more than once and at once.
func (dp *Dataplane) Close() error {
	dp.turn <- struct{}{}
	defer dp.leave()
	if dp.life == isClosed {
		return nil
	}
	return dp.end(dp.cfg.KeepOnClose && dp.life == isRunning)
}

// end closes the dataplane, whatever was begun, in reverse.
func (dp *Dataplane) end(keep bool) error {
	ran := dp.life == isRunning
	dp.setLife(isClosed)
	var errs []error
	if dp.watchers != nil {
		errs = append(errs, dp.watchers.close())
	}
	if dp.tree != nil { // before the device goes, which the tree's goroutine would complain about
		errs = append(errs, dp.tree.Close())
	}
	if dp.device != nil {
		errs = append(errs, dp.device.Close(keep))
	}
	if ran {
		errs = append(errs, dp.takeLast())
	}
	if dp.links != nil && dp.nft != nil && !keep {
		errs = append(errs, dp.demolish()...)
	}
	for _, conn := range []*nft.Conn{dp.nft, dp.reads} {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	if dp.objects != nil {
		errs = append(errs, dp.objects.Close())
	}
	if dp.links != nil {
		errs = append(errs, dp.links.Close())
	}
	if dp.lock != nil {
		errs = append(errs, dp.lock.Close())
	}
	dp.tasks.Wait()
	return errors.Join(errs...)
}

// demolish removes what is ours from the kernel: tables, the IFB, and sysctls that still are what was set.
func (dp *Dataplane) demolish() (errs []error) {
	errs = append(errs, dp.leaveGuests(), dp.restoreSysctls())
	b := &nft.Batch{}
	inet, netdev := rules.Tables(dp.cfg.Interface)
	for _, t := range []nft.Table{inet, netdev} {
		ok, err := dp.nft.Exists(t)
		errs = append(errs, err)
		if ok && dp.policy != nil { // else the start failed before anything was ours
			b.DeleteTable(t)
		}
	}
	errs = append(errs, dp.nft.Commit(b))
	if dp.ifb.Index != 0 {
		errs = append(errs, dp.links.Delete(dp.ifb.Index))
	}
	return errs
}
