//go:build linux

package kernel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	packets "github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

const (
	// rigInterface is the name of the dataplanes' interface.
	rigInterface = "wl0"
	// uplink is the host's way out: a TUN, with every other host in the world behind it.
	uplink = "uplink0"
	// uplinkQueue is so long that no datagram of a test is lost on its way out.
	uplinkQueue = 20_000
)

// The host's own addresses, on its uplink.
var (
	host4 = netip.MustParsePrefix("203.0.113.1/24")
	host6 = netip.MustParsePrefix("2001:db8:ffff::1/64")
)

// rig makes a host of the test's network namespace. Dataplanes run on it; the devices of peers reach them over the loopback;
// and what leaves by the uplink comes to one network stack in this process, which has whatever address is listened at.
type rig struct {
	tb       testing.TB
	cfg      kernel.Config
	before   host
	wire     *os.File
	internet *conformance.Stack
	wg       sync.WaitGroup

	mu    sync.Mutex
	peers map[wgtypes.Key][]netip.Addr // guarded by mu: those that were connected
	left  map[netip.Addr]bool          // guarded by mu: where packets went by the uplink
}

var (
	_ conformance.Rig             = (*rig)(nil)
	_ conformance.EchoRig         = (*rig)(nil)
	_ conformance.HostRig         = (*rig)(nil)
	_ conformance.UnreachableRig  = (*rig)(nil)
	_ conformance.WatchedRig      = (*rig)(nil)
	_ conformance.DisturbableRig  = (*rig)(nil)
	_ conformance.ObstructableRig = (*rig)(nil)
	_ conformance.AilingRig       = (*rig)(nil)
)

func newRig(tb testing.TB, driver kernel.Driver) *rig {
	tb.Helper()
	netns.Require(tb)
	requireHostTools(tb)
	r := &rig{
		tb: tb, cfg: kernel.Config{Interface: rigInterface, Driver: driver}, peers: make(map[wgtypes.Key][]netip.Addr),
		left: make(map[netip.Addr]bool),
	}
	resetHost(tb)
	r.wire = netns.OpenTUN(tb, uplink, wgnode.DefaultMTU, uplinkQueue)
	netns.AddAddr(tb, nil, uplink, host4)
	netns.AddAddr(tb, nil, uplink, host6)
	for _, route := range []string{
		"0.0.0.0/0", "::/0",
		"10.200.0.0/16", // a private network of the host's inside what the suite's nodes lease addresses from
	} {
		netns.AddRoute(tb, nil, uplink, netip.MustParsePrefix(route), netip.Addr{})
	}
	var err error
	r.internet, err = conformance.NewStack(wgnode.DefaultMTU, func(packet []byte) {
		_, _ = r.wire.Write(packet) // what the host does not take is lost, as on any wire
	})
	require.NoError(tb, err)
	r.wg.Go(r.receive)
	r.before = lookAtHost(tb)
	return r
}

// receive takes what leaves by the uplink to the hosts behind it.
func (r *rig) receive() {
	packet := make([]byte, 1<<16)
	for {
		n, err := r.wire.Read(packet)
		if err != nil {
			return
		}
		r.note(packet[:n])
		r.internet.Inject(packet[:n])
	}
}

// note keeps where a packet goes.
func (r *rig) note(packet []byte) {
	var info packets.Info
	if info.Parse(packet) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left[info.Dst] = true
}

func (r *rig) Left(dst netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left[dst]
}

// Close asserts that nothing is left of the dataplanes.
func (r *rig) Close() (err error) {
	defer func() { // even if the host is not as it was, as the next test needs the namespace
		err = r.wire.Close()
		r.wg.Wait()
		r.internet.Close()
	}()
	if !r.tb.Failed() {
		requireSameHost(r.tb, r.before)
	}
	return nil
}

func (r *rig) Dataplane() (wgnode.Dataplane, error) { return kernel.New(r.cfg) }

func (r *rig) Connect(dev tun.Device, cfg wgnode.ClientConfig) (io.Closer, error) {
	r.mu.Lock()
	r.peers[cfg.PrivateKey.PublicKey()] = cfg.Addrs
	r.mu.Unlock()
	return conformance.ConnectWireGuard(dev, cfg)
}

// local reports whether an address is the host's.
func (r *rig) local(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(r.HostAddrs(), addr)
}

func (r *rig) ListenTCP(addr netip.AddrPort) (net.Listener, error) {
	if r.local(addr.Addr()) {
		return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	}
	if err := r.internet.AddAddr(addr.Addr()); err != nil {
		return nil, err
	}
	return r.internet.ListenTCP(addr)
}

func (r *rig) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	if r.local(addr.Addr()) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	}
	if err := r.internet.AddAddr(addr.Addr()); err != nil {
		return nil, err
	}
	return r.internet.ListenUDP(addr)
}

// AnswerEcho needs no more than the address: the stack answers.
func (r *rig) AnswerEcho(addr netip.Addr) error { return r.internet.AddAddr(addr) }

func (r *rig) HostAddrs() []netip.Addr { return []netip.Addr{host4.Addr(), host6.Addr()} }

// Unreachable: the kernel takes packets to the loopback from no other link, and forwards none to a link-local address of
// IPv6.
func (r *rig) Unreachable(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.Is6() && addr.IsLinkLocalUnicast()
}

// Obstruct has somebody else listen on the port, which a dataplane finds out when its link is there already.
func (r *rig) Obstruct(cfg *wgnode.DataplaneConfig) (release func(), err error) {
	l, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(cfg.ListenPort)})
	if err != nil {
		return nil, fmt.Errorf("take the port: %w", err)
	}
	return func() { _ = l.Close() }, nil
}

// Ail stops the kernel from forwarding IPv4.
func (r *rig) Ail(wgnode.Dataplane) (wgnode.ProblemKind, func() error, error) {
	set := func(value string) error { return os.WriteFile(forward4, []byte(value), 0o644) }
	return wgnode.ForwardingOff, func() error { return set("1") }, set("0")
}

// forward4 is what lets the kernel forward IPv4.
const forward4 = "/proc/sys/net/ipv4/ip_forward"

// Disturb deletes what the dataplane's table holds of a peer's addresses, in every set and map.
func (r *rig) Disturb(peer wgtypes.Key) error {
	r.mu.Lock()
	addrs := r.peers[peer]
	r.mu.Unlock()
	var script strings.Builder
	inet, _ := rules.Tables(rigInterface)
	for _, element := range tableElements(r.tb, "inet", inet.Name) {
		if slices.ContainsFunc(addrs, element.about) {
			fmt.Fprintf(&script, "delete element inet %s %s { %s }\n", inet.Name, element.set, element.key)
		}
	}
	if script.Len() == 0 {
		return fmt.Errorf("the table inet %s holds nothing of %s", inet.Name, peer)
	}
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("nft: %w: %s", err, out), errors.New(script.String()))
	}
	return nil
}

// element is one element of a set or map: its key, as nft reads it, parts joined by " . ".
type element struct{ set, key string }

// about reports whether an address is the key or one of its parts.
func (e element) about(addr netip.Addr) bool {
	return slices.Contains(strings.Split(e.key, " . "), addr.String())
}

// tableElements lists the elements of all sets and maps of a table.
func tableElements(tb testing.TB, family, table string) []element {
	tb.Helper()
	type namedSet struct {
		Name string
		Elem []json.RawMessage
	}
	var listing struct {
		Nftables []struct{ Set, Map *namedSet }
	}
	require.NoError(tb, json.Unmarshal([]byte(output(tb, "nft", "-j", "list", "table", family, table)), &listing))
	var elements []element
	for _, object := range listing.Nftables {
		for _, set := range []*namedSet{object.Set, object.Map} {
			if set == nil {
				continue
			}
			for _, raw := range set.Elem {
				if key := elementKey(raw); key != "" {
					elements = append(elements, element{set.Name, key})
				}
			}
		}
	}
	return elements
}

// elementKey reads a key as libnftables-json(5) writes it: a value, a concatenation of values, either of them with
// attributes, or, in a map, a pair of that and what it maps to. It returns "" for what is none of these, such as a range.
func elementKey(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	var pair []json.RawMessage
	if json.Unmarshal(raw, &pair) == nil && len(pair) > 0 {
		return elementKey(pair[0])
	}
	var object struct {
		Elem   *struct{ Val json.RawMessage }
		Concat []json.RawMessage
	}
	if json.Unmarshal(raw, &object) != nil {
		return ""
	}
	if object.Elem != nil {
		return elementKey(object.Elem.Val)
	}
	var parts []string
	for _, part := range object.Concat {
		key := elementKey(part)
		if key == "" {
			return ""
		}
		parts = append(parts, key)
	}
	return strings.Join(parts, " . ")
}
