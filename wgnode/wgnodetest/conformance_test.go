package wgnodetest_test

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

func TestConformance(t *testing.T) {
	conformance.TestDataplane(t, conformance.Harness{Rig: func(t *testing.T) conformance.Rig { return newRig(t) }})
}

// rig has the fake's internet played by a network stack, and connects peers by moving their packets to their port.
type rig struct {
	internet *conformance.Stack
	ctx      context.Context // ends with the rig
	stop     context.CancelFunc
	wg       sync.WaitGroup
	keys     atomic.Pointer[nodeKeys]

	mu      sync.Mutex
	current *wgnodetest.Dataplane // guarded by mu
}

var (
	_ conformance.Rig             = (*rig)(nil)
	_ conformance.EchoRig         = (*rig)(nil)
	_ conformance.HostRig         = (*rig)(nil)
	_ conformance.DisturbableRig  = (*rig)(nil)
	_ conformance.ObstructableRig = (*rig)(nil)
	_ conformance.AilingRig       = (*rig)(nil)
)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := new(rig)
	r.ctx, r.stop = context.WithCancel(context.WithoutCancel(t.Context())) // Close, which comes after the test, stops it
	var err error
	r.internet, err = conformance.NewStack(wgnode.DefaultMTU, func(packet []byte) {
		if d := r.dataplane(); d != nil {
			d.Internet().Send(packet)
		}
	})
	require.NoError(t, err)
	return r
}

func (r *rig) dataplane() *wgnodetest.Dataplane {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

func (r *rig) Dataplane() (wgnode.Dataplane, error) {
	d := wgnodetest.NewDataplane()
	if err := d.SetHost(r.HostAddrs()...); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.current = d
	r.mu.Unlock()
	r.wg.Go(func() {
		for {
			packet, err := d.Internet().Receive(r.ctx)
			if err != nil {
				return
			}
			r.internet.Inject(packet)
		}
	})
	return &keyed{d, &r.keys}, nil
}

// nodeKeys are the public keys that the node has; each has a mark of its own for as long as it is there.
type nodeKeys map[wgtypes.Key]*byte

// with are keys that take the place of others.
func (k nodeKeys) with(private ...wgtypes.Key) *nodeKeys {
	next := make(nodeKeys)
	for _, key := range private {
		if key == (wgtypes.Key{}) {
			continue
		}
		next[key.PublicKey()] = cmp.Or(k[key.PublicKey()], new(byte))
	}
	return &next
}

// keyed tells the rig of the keys that the dataplane has.
type keyed struct {
	*wgnodetest.Dataplane
	keys *atomic.Pointer[nodeKeys]
}

func (k *keyed) Start(ctx context.Context, cfg wgnode.DataplaneConfig, want wgnode.State) (wgnode.DataplaneInfo, error) {
	k.keys.Store(nodeKeys{}.with(cfg.PrivateKey, cfg.FormerKey))
	return k.Dataplane.Start(ctx, cfg, want)
}

func (k *keyed) SetKeys(ctx context.Context, key, former wgtypes.Key) error {
	err := k.Dataplane.SetKeys(ctx, key, former)
	if err == nil {
		k.keys.Store(k.keys.Load().with(key, former))
	}
	return err
}

func (r *rig) Ail(wgnode.Dataplane) (wgnode.ProblemKind, func() error, error) {
	d := r.dataplane()
	d.SetProblems(wgnode.HealthProblem{Kind: wgnode.UplinkDown, What: "so says the test"})
	return wgnode.UplinkDown, func() error { d.SetProblems(); return nil }, nil
}

// link moves packets between a device and a port until it is closed.
type link struct {
	dev  tun.Device
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func (r *rig) Connect(dev tun.Device, cfg wgnode.ClientConfig) (io.Closer, error) {
	d := r.dataplane()
	key := cfg.PrivateKey.PublicKey()
	d.SetHandshake(key, time.Now(), netip.MustParseAddrPort("127.0.0.1:40000"))
	// A device that knows a key that is not the node's, or is so no more or anew, is not heard.
	mark := (*r.keys.Load())[cfg.ServerKey]
	known := func() bool { return mark != nil && (*r.keys.Load())[cfg.ServerKey] == mark }
	port := d.Peer(key)
	l := &link{dev: dev}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.wg.Go(func() {
		bufs, sizes := make([][]byte, dev.BatchSize()), make([]int, dev.BatchSize())
		for i := range bufs {
			bufs[i] = make([]byte, cfg.MTU)
		}
		for {
			n, err := dev.Read(bufs, sizes, 0)
			if err != nil {
				return
			}
			if !known() {
				continue
			}
			for i := range n {
				port.Send(bufs[i][:sizes[i]])
			}
		}
	})
	l.wg.Go(func() {
		for {
			packet, err := port.Receive(ctx)
			if err != nil {
				return
			}
			_, _ = dev.Write([][]byte{packet}, 0) // fails only when the device is closed
		}
	})
	return l, nil
}

func (l *link) Close() error {
	l.stop()
	err := l.dev.Close()
	l.wg.Wait()
	return err
}

func (r *rig) ListenTCP(addr netip.AddrPort) (net.Listener, error) {
	if err := r.internet.AddAddr(addr.Addr()); err != nil {
		return nil, err
	}
	return r.internet.ListenTCP(addr)
}

func (r *rig) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	if err := r.internet.AddAddr(addr.Addr()); err != nil {
		return nil, err
	}
	return r.internet.ListenUDP(addr)
}

// AnswerEcho needs no more than the address: the stack answers.
func (r *rig) AnswerEcho(addr netip.Addr) error { return r.internet.AddAddr(addr) }

func (r *rig) HostAddrs() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8:7::7")}
}

func (r *rig) Disturb(peer wgtypes.Key) error {
	return r.dataplane().Disturb(wgnode.Change{RemovePeers: []wgtypes.Key{peer}})
}

func (r *rig) Obstruct(*wgnode.DataplaneConfig) (release func(), err error) {
	r.dataplane().FailNext(wgnodetest.OpStart, wgnodetest.ErrInjected)
	return func() {}, nil
}

func (r *rig) Close() error {
	r.stop()
	r.wg.Wait()
	r.internet.Close()
	return nil
}
