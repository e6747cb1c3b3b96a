package wgnodetest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/internal/addrtable"
	"github.com/waylume/waylume/wgnode/internal/path"
)

// DefaultListenPort is what a dataplane says it listens on when the node leaves the choice to it. Nothing is opened.
const DefaultListenPort = 51820

// lifecycle is where a dataplane is: fresh -> running -> closed, or fresh -> closed. A start that fails leaves it fresh.
type lifecycle int

const (
	fresh lifecycle = iota
	running
	closed
)

// Dataplane is a [wgnode.Dataplane] in memory. Use [NewDataplane]. Its methods may be called from any goroutine.
type Dataplane struct {
	internet *Port
	ports    addrtable.Table[*Port] // by the addresses of peers
	spoofed  atomic.Uint64
	live     atomic.Pointer[path.Path] // nil while no packet moves

	mu        sync.Mutex // serialises changes; guards what is below
	life      lifecycle
	cfg       wgnode.DataplaneConfig
	path      *path.Path
	peers     map[wgtypes.Key]*Port
	addrs     map[wgtypes.Key][]netip.Addr
	handshake map[wgtypes.Key]handshake
	changes   []wgnode.Change
	host      []netip.Addr
	problems  []wgnode.HealthProblem

	faults  faults
	notices notices
}

type handshake struct {
	at       time.Time
	endpoint netip.AddrPort
	node     wgtypes.Key // the node's private key that it was with
}

var (
	_ wgnode.Dataplane  = (*Dataplane)(nil)
	_ wgnode.KeyChanger = (*Dataplane)(nil)
)

// NewDataplane returns a dataplane that has not been started. It serves one node.
func NewDataplane() *Dataplane {
	d := &Dataplane{
		peers:     make(map[wgtypes.Key]*Port),
		addrs:     make(map[wgtypes.Key][]netip.Addr),
		handshake: make(map[wgtypes.Key]handshake),
	}
	d.internet = newPort(d.fromInternet)
	return d
}

// Start brings the packet path up with everything in want in force. After an error it may be called again.
func (d *Dataplane) Start(ctx context.Context, cfg wgnode.DataplaneConfig, want wgnode.State) (wgnode.DataplaneInfo, error) {
	if err := d.faults.check(ctx, OpStart); err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	defer d.lock()()
	switch d.life {
	case closed:
		return wgnode.DataplaneInfo{}, wgnode.ErrClosed
	case running:
		return wgnode.DataplaneInfo{}, errors.New("wgnodetest: started twice: a dataplane serves one node")
	}
	p, err := path.New(path.Config{
		MTU: cfg.MTU, Pool: cfg.Pool, Host: d.host, Notify: d.notices.notify, ToPeers: d.toPeers, ToNet: d.internet.deliver,
	})
	if err != nil {
		return wgnode.DataplaneInfo{}, err
	}
	p.Start()
	d.path = p
	d.notices.use(cfg.Notify)
	change, _ := p.Want().Diff(want)
	if err := d.applyLocked(change); err != nil {
		p.Close()
		d.path = nil
		return wgnode.DataplaneInfo{}, err
	}
	d.life, d.cfg = running, cfg
	d.live.Store(p)
	return wgnode.DataplaneInfo{
		Name:        "fake",
		ListenPort:  cmp.Or(cfg.ListenPort, DefaultListenPort),
		Limitations: []string{"packets move in memory only"},
	}, nil
}

// Apply makes one change, whole or not at all.
func (d *Dataplane) Apply(ctx context.Context, change wgnode.Change) error {
	if err := d.faults.check(ctx, OpApply); err != nil {
		return err
	}
	defer d.lock()()
	if err := d.usableLocked(); err != nil {
		return err
	}
	if err := d.applyLocked(change); err != nil {
		return err
	}
	d.changes = append(d.changes, change)
	return nil
}

// SetKeys forgets the handshakes that were with a key which does not stay. Ports go on as they are: who connects to them has no
// keys.
func (d *Dataplane) SetKeys(ctx context.Context, key, former wgtypes.Key) error {
	if err := d.faults.check(ctx, OpSetKeys); err != nil {
		return err
	}
	defer d.lock()()
	if err := d.usableLocked(); err != nil {
		return err
	}
	maps.DeleteFunc(d.handshake, func(_ wgtypes.Key, h handshake) bool { return h.node != key && h.node != former })
	d.cfg.PrivateKey, d.cfg.FormerKey = key, former
	return nil
}

// Sync makes the dataplane equal to want and says what differed.
func (d *Dataplane) Sync(ctx context.Context, want wgnode.State) ([]wgnode.Repair, error) {
	if err := d.faults.check(ctx, OpSync); err != nil {
		return nil, err
	}
	defer d.lock()()
	if err := d.usableLocked(); err != nil {
		return nil, err
	}
	change, repairs := d.path.Want().Diff(want)
	if err := d.applyLocked(change); err != nil {
		return nil, err
	}
	return repairs, nil
}

// Stats reads counters. Handshakes and endpoints are those of [Dataplane.SetHandshake], problems those of
// [Dataplane.SetProblems]; what WireGuard received and sent are the packets as they are.
func (d *Dataplane) Stats(ctx context.Context, query wgnode.StatsQuery) (wgnode.Stats, error) {
	if err := d.faults.check(ctx, OpStats); err != nil {
		return wgnode.Stats{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	over := d.life == closed && d.path != nil
	if err := d.usableLocked(); err != nil && !over {
		return wgnode.Stats{}, err
	}
	stats := d.path.Stats(query)
	if n := d.spoofed.Load(); n > 0 {
		stats.Dropped[isolation.ReasonSpoofed.String()] += n
	}
	if query.Health {
		stats.Problems = slices.Clone(d.problems)
	}
	if query.Device && !over {
		for i := range stats.Peers {
			s := &stats.Peers[i]
			h, port := d.handshake[s.PublicKey], d.portLocked(s.PublicKey)
			s.LastHandshake, s.Endpoint = h.at, h.endpoint
			s.FormerKey = h.node == d.cfg.FormerKey && h.node != wgtypes.Key{}
			s.Received, s.Sent = port.sent.Load(), port.delivered.Load()
		}
	}
	return stats, nil
}

// Close stops all traffic; what ports have received, and counters, can still be read.
func (d *Dataplane) Close() error {
	err := d.faults.check(context.Background(), OpClose)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.live.Store(nil)
	if d.path != nil && d.life != closed {
		d.path.Close()
	}
	d.life = closed
	return err
}

// SetHost says which addresses are the host's own, and so closed to peers unless a policy opens them; there are none at
// first. It may be called at any time.
func (d *Dataplane) SetHost(addrs ...netip.Addr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path != nil {
		if err := d.path.SetHost(slices.Clone(addrs)); err != nil {
			return err
		}
	}
	d.host = slices.Clone(addrs)
	return nil
}

func (d *Dataplane) usableLocked() error {
	switch d.life {
	case fresh:
		return wgnode.ErrNotStarted
	case closed:
		return wgnode.ErrClosed
	}
	return nil
}

// applyLocked changes the path, and then who may send and receive at which port. A peer that keeps its addresses keeps its
// port all the while: packets may be on their way, and are counted already.
func (d *Dataplane) applyLocked(change wgnode.Change) error {
	if err := d.path.Apply(change); err != nil {
		return err
	}
	for _, key := range change.RemovePeers {
		d.vacateLocked(key)
		delete(d.handshake, key)
		port := d.portLocked(key)
		port.sent.Store(0)
		port.delivered.Store(0)
	}
	moved := func(p wgnode.PeerState) bool { return !slices.Equal(d.addrs[p.PublicKey], p.Addrs) }
	set := slices.DeleteFunc(slices.Clone(change.SetPeers), func(p wgnode.PeerState) bool { return !moved(p) })
	for _, p := range set {
		d.vacateLocked(p.PublicKey)
	}
	d.ports.SetAll(func(yield func([]netip.Addr, *Port) bool) {
		for _, p := range set {
			d.addrs[p.PublicKey] = slices.Clone(p.Addrs)
			if !yield(p.Addrs, d.portLocked(p.PublicKey)) {
				return
			}
		}
	})
	return nil
}

func (d *Dataplane) vacateLocked(key wgtypes.Key) {
	d.ports.Delete(d.addrs[key])
	delete(d.addrs, key)
}

// toPeers delivers what the path lets through to peers.
func (d *Dataplane) toPeers(pkts []*shaping.Packet) {
	for _, pkt := range pkts {
		if to, ok := d.ports.Lookup(destination(pkt.Data)); ok {
			to.deliver([][]byte{pkt.Data})
		}
		pkt.Free()
	}
}

// fromPeer takes a packet from a peer's port. As WireGuard does, it lets a peer send from its own addresses only.
func (d *Dataplane) fromPeer(port *Port, packet []byte) {
	p := d.live.Load()
	if p == nil {
		return
	}
	if from := source(packet); from.IsValid() {
		if owner, ok := d.ports.Lookup(from); !ok || owner != port {
			d.spoofed.Add(1)
			return
		}
	}
	port.sent.Add(uint64(len(packet)))
	p.FromPeer([][]byte{packet}, 0)
}

// fromInternet takes a packet for a peer from the internet's port.
func (d *Dataplane) fromInternet(packet []byte) {
	p := d.live.Load()
	if p == nil {
		return
	}
	pkt := p.NewPacket(len(packet))
	copy(pkt.Data, packet)
	pkt.Flow = flowHash(packet)
	p.FromNet([]*shaping.Packet{pkt})
}
