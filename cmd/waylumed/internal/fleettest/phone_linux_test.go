package fleettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/placement"
	"github.com/waylume/waylume/wgnode"
)

// phone is a client: a stock WireGuard device with a network stack. It asks the far server again and again, and goes by
// the configuration of the highest generation that it was given.
type phone struct {
	name   string
	number uint32
	key    wgtypes.Key

	mu         sync.Mutex // held while a question waits for its answer
	generation int64
	last       placement.Connection   // which is in use
	offline    bool                   // no configuration arrives
	late       []placement.Connection // what was sent meanwhile
	addresses  []netip.Addr
	device     *device.Device
	conn       net.Conn
	questions  uint64

	answers sync.Map // *atomic.Int64 by the netip.Addr of the node that they came through
	stopped atomic.Bool
	done    sync.WaitGroup
}

func newPhone(t *testing.T, name string, number uint32) *phone {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	c := &phone{name: name, number: number, key: key}
	t.Cleanup(c.close)
	return c
}

func (c *phone) public() registry.Key { return registry.Key(c.key.PublicKey()) }

// apply takes over a configuration, unless it has that or a later one.
func (c *phone) apply(of placement.Connection) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offline {
		c.late = append(c.late, of)
		return nil
	}
	return c.applyLocked(of)
}

func (c *phone) applyLocked(of placement.Connection) error {
	if of.Session.Generation <= c.generation {
		return nil
	}
	addresses := of.Peer.Addresses
	if !slices.Equal(addresses, c.addresses) {
		if err := c.restart(addresses); err != nil {
			return err
		}
	}
	server, endpoint := of.Server.PublicKey, of.Server.EndpointV4
	const settings = "private_key=%x\nreplace_peers=true\npublic_key=%x\nendpoint=%s\nallowed_ip=0.0.0.0/0\n"
	err := c.device.IpcSet(fmt.Sprintf(settings, c.key[:], server[:], endpoint))
	if err == nil {
		c.generation, c.last = of.Session.Generation, of
	}
	return err
}

// reconnect is what its user does when a tunnel hangs: the device would shake hands anew by itself 15 s after its node was started.
func (c *phone) reconnect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation = 0
	return c.applyLocked(c.last)
}

// setOffline keeps configurations from the phone, which goes on with the one that it has, or lets in those that came meanwhile.
func (c *phone) setOffline(offline bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offline = offline
	if offline {
		return nil
	}
	late := c.late
	c.late = nil
	for _, of := range late {
		if err := c.applyLocked(of); err != nil {
			return err
		}
	}
	return nil
}

// restart makes the device anew, with other addresses.
func (c *phone) restart(addresses []netip.Addr) error {
	c.closeDevice()
	c.addresses = nil
	tun, stack, err := clienttun.Create(addresses, nil, wgnode.DefaultMTU)
	if err != nil {
		return err
	}
	c.device = device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	if err := c.device.Up(); err != nil {
		return err
	}
	own := slices.IndexFunc(addresses, netip.Addr.Is4)
	if own < 0 {
		return errors.New("the node gave no IPv4 address")
	}
	if c.conn, err = stack.DialUDPAddrPort(netip.AddrPortFrom(addresses[own], 0), far); err != nil {
		return err
	}
	c.addresses = slices.Clone(addresses)
	return nil
}

func (c *phone) closeDevice() {
	if c.device == nil {
		return
	}
	if c.conn != nil {
		_ = c.conn.Close() // nothing waits for what is in it
	}
	c.device.Close()
	c.device, c.conn = nil, nil
}

// ask sends one question, and waits some time for the answer. It says through which node that came.
func (c *phone) ask() (node netip.Addr, ok bool) {
	const wait = 500 * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return node, false
	}
	c.questions++
	question := make([]byte, leastSize+rand.IntN(mostSize-leastSize+1))
	binary.BigEndian.PutUint32(question[clientAt:], c.number)
	binary.BigEndian.PutUint64(question[questionAt:], c.questions)
	if _, err := c.conn.Write(question); err != nil {
		return node, false
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return node, false
	}
	for answer := make([]byte, 1<<16); ; {
		n, err := c.conn.Read(answer)
		if err != nil {
			return node, false
		}
		if n == len(question) && binary.BigEndian.Uint64(answer[questionAt:]) == c.questions {
			return netip.AddrFrom4([4]byte(answer[fromAt : fromAt+4])), true
		}
	}
}

// start has the client ask from now on, until it is stopped.
func (c *phone) start() {
	c.stopped.Store(false)
	c.done.Go(func() {
		for !c.stopped.Load() {
			if node, ok := c.ask(); ok {
				count, _ := c.answers.LoadOrStore(node, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
}

// stop returns when the last answer has come, or nobody waits for it any more.
func (c *phone) stop() {
	c.stopped.Store(true)
	c.done.Wait()
}

func (c *phone) close() {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeDevice()
}

// through is how many answers came through a node so far.
func (c *phone) through(node netip.Addr) int64 {
	count, ok := c.answers.Load(node)
	if !ok {
		return 0
	}
	return count.(*atomic.Int64).Load()
}

// flows waits for some more answers through a node.
func (c *phone) flows(t *testing.T, h *host) {
	t.Helper()
	const more = 20
	before := c.through(h.outside)
	eventually(t, fmt.Sprintf("%s gets answers through %s", c.name, h.name), func() bool { return c.through(h.outside) >= before+more })
}

// now is the configuration that is in use.
func (c *phone) now() (generation int64, addresses []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation, slices.Clone(c.addresses)
}
