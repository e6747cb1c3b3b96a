package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/shaping/htb"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// reserve is how many free classes are kept ready.
const reserve = 64

// bring makes the kernel hold just what want says, whatever it holds now: at the start, over what an earlier process left, and
// whenever something was disturbed. It reads everything, writes what differs, and returns what that was. If it is asked only
// to mend, want is what the records say already, and tables that nobody has changed since are not read.
//
// The order opens nothing: links come first, but not up; then classes, tables, and last the device's peers and its socket.
func (dp *Dataplane) bring(ctx context.Context, want wgnode.State, mend bool) (repairs []wgnode.Repair, err error) {
	note := func(what ...string) {
		for _, w := range what {
			repairs = append(repairs, wgnode.Repair{What: w})
		}
	}
	adopting, err := dp.bringLinks(ctx, note)
	if err != nil {
		return nil, err
	}
	policy, err := dp.compile(want.Policy)
	if err != nil {
		return nil, err
	}
	if err := dp.tree.Root(ctx, want.SpeedLimit); err != nil {
		return nil, err
	}
	asLeft := false
	if mend && !adopting && policy == dp.policy {
		if asLeft, err = dp.tablesAsLeft(note); err != nil {
			return nil, err
		}
	}
	if asLeft {
		mended, err := dp.syncClasses(ctx)
		if err != nil {
			return nil, err
		}
		note(mended...)
	} else {
		mended, err := dp.bringTables(ctx, want, policy, adopting, note)
		if err != nil {
			return nil, err
		}
		repairs = append(repairs, mended...)
	}
	mendedPeers, err := dp.bringPeers(ctx)
	if err != nil {
		return nil, err
	}
	if err := dp.bringUp(ctx, note); err != nil {
		return nil, err
	}
	dp.notify(dp.pending)
	dp.pending = nil
	return append(mendedPeers, repairs...), nil
}

// bringLinks sees to the two interfaces and the tree on them. It returns true when the tree was opened anew, so that classes
// have to be adopted or claimed.
func (dp *Dataplane) bringLinks(ctx context.Context, note func(...string)) (adopting bool, err error) {
	if dp.device != nil && !dp.deviceAlive() {
		note("the interface was gone")
		err := dp.device.Close(false)
		dp.setDeviceTo(nil)
		if err != nil {
			return false, err
		}
	}
	before := [2]int{dp.link.Index, dp.ifb.Index}
	if dp.device == nil {
		device := dp.newDevice()
		dp.link, _, err = device.Open(ctx, wgdev.Config{
			Name: dp.cfg.Interface, PrivateKey: dp.fixed.PrivateKey, FormerKey: dp.fixed.FormerKey,
			ListenPort:   cmp.Or(dp.port, dp.fixed.ListenPort),
			FirewallMark: dp.cfg.FirewallMark, MTU: dp.fixed.MTU, Logger: dp.fixed.Logger,
		})
		if err != nil {
			return false, errors.Join(err, device.Close(true))
		}
		dp.setDeviceTo(device)
	}
	writes := dp.links.Writes()
	if dp.ifb, _, err = dp.links.EnsureLink(dp.ifbName(), "ifb"); err != nil {
		return false, err
	}
	err = errors.Join(
		dp.links.EnsureAttributes(dp.link.Index, link.Attributes{MTU: dp.fixed.MTU, TxQueueLen: queueLength, NoLinkLocal: true}),
		dp.links.EnsureAttributes(dp.ifb.Index, link.Attributes{TxQueueLen: queueLength, NoLinkLocal: true}),
		dp.links.EnsureUp(dp.ifb.Index))
	if err != nil {
		return false, err
	}
	if dp.links.Writes() != writes {
		note("set up the interfaces")
	}
	if dp.tree != nil && before != [2]int{dp.link.Index, dp.ifb.Index} {
		err := dp.tree.Close()
		dp.tree = nil
		if err != nil {
			return false, err
		}
	}
	if dp.watchers != nil {
		dp.watchers.links.Watch(dp.link.Index, dp.ifb.Index)
	}
	if dp.tree != nil {
		return false, nil
	}
	dp.tree, err = htb.Open(ctx, htb.Config{
		Planner: dp.planner, Reserve: reserve, Logger: dp.fixed.Logger,
		Devices: []htb.Device{
			{Index: dp.link.Index, Name: dp.link.Name, Direction: htb.Download},
			{Index: dp.ifb.Index, Name: dp.ifb.Name, Direction: htb.Upload},
		},
	})
	return true, err
}

// queueLength is how many packets wait for the device itself, behind the HTB.
const queueLength = 1000

func (dp *Dataplane) ifbName() string { return dp.cfg.Interface + ifbSuffix }

// deviceAlive reports whether the interface is still the one that the device has.
func (dp *Dataplane) deviceAlive() bool {
	select {
	case <-dp.device.Failed():
		return false
	default:
	}
	l, ok, err := dp.links.LinkByName(dp.cfg.Interface)
	return err != nil || ok && l.Index == dp.link.Index
}

// compile makes the plan of a policy for the host as it is now; the one that is in force, if nothing differs.
func (dp *Dataplane) compile(policy isolation.Policy) (*rules.Policy, error) {
	host, err := dp.hostNow()
	if err != nil {
		return nil, err
	}
	if dp.policy != nil && slices.Equal(host, dp.host) && policy.Equal(dp.set.Policy()) {
		return dp.policy, nil
	}
	plan, err := isolation.Compile(policy, host, dp.fixed.Pool)
	if err != nil {
		return nil, err
	}
	dp.host = host
	return rules.NewPolicy(plan), nil
}

// hostNow are the addresses of the host, those that the tunnel's interface will have among them, sorted.
func (dp *Dataplane) hostNow() ([]netip.Addr, error) {
	host, err := dp.links.HostAddresses()
	if err != nil {
		return nil, err
	}
	for _, own := range dp.fixed.Addresses {
		host = append(host, own.Addr())
	}
	slices.SortFunc(host, netip.Addr.Compare)
	return slices.Compact(host), nil
}

// bringPeers makes the device's peers those of the records.
func (dp *Dataplane) bringPeers(ctx context.Context) ([]wgnode.Repair, error) {
	have, err := dp.device.Status(ctx)
	if err != nil {
		return nil, err
	}
	if have.PrivateKey != dp.fixed.PrivateKey || have.FormerKey != dp.fixed.FormerKey {
		repairs := []wgnode.Repair{{What: "put the node's private key back into the device"}}
		return repairs, dp.setKeys(ctx, dp.fixed.PrivateKey, dp.fixed.FormerKey)
	}
	known := make(map[wgtypes.Key]wgdev.Peer, len(have.Peers))
	for _, p := range have.Peers {
		known[p.PublicKey] = p.Peer
	}
	var repairs []wgnode.Repair
	var remove []wgtypes.Key
	var set []wgdev.Peer
	for key := range known {
		if dp.records.peers[key] == nil {
			remove = append(remove, key)
			repairs = append(repairs, wgnode.Repair{What: "removed stray peer from the device", Subject: key.String()})
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(dp.records.peers), func(a, b wgtypes.Key) int { return slices.Compare(a[:], b[:]) }) {
		p := dp.records.peers[key].device()
		if k, ok := known[key]; !ok || !samePeer(k, p) {
			set = append(set, p)
			repairs = append(repairs, wgnode.Repair{What: "put peer into the device", Subject: key.String()})
		}
	}
	if len(remove)+len(set) == 0 {
		return nil, nil
	}
	return repairs, dp.configure(ctx, remove, set)
}

// devicePeers are all peers of the records, as the device is to be told of them.
func (dp *Dataplane) devicePeers() []wgdev.Peer {
	peers := make([]wgdev.Peer, 0, len(dp.records.peers))
	for _, p := range dp.records.peers {
		peers = append(peers, p.device())
	}
	return peers
}

func samePeer(a, b wgdev.Peer) bool {
	byAddr := func(a, b netip.Prefix) int { return a.Compare(b) }
	return a.PresharedKey == b.PresharedKey && a.Keepalive.Truncate(time.Second) == b.Keepalive.Truncate(time.Second) &&
		slices.Equal(slices.SortedFunc(slices.Values(a.AllowedIPs), byAddr), slices.SortedFunc(slices.Values(b.AllowedIPs), byAddr))
}

// bringUp opens the socket and puts addresses and routes in place.
func (dp *Dataplane) bringUp(ctx context.Context, note func(...string)) (err error) {
	writes := dp.links.Writes()
	if err := dp.links.EnsureAddresses(dp.link.Index, dp.fixed.Addresses); err != nil {
		return err
	}
	port, err := dp.device.Up(ctx)
	if err != nil {
		return fmt.Errorf("open UDP port %d: %w", dp.fixed.ListenPort, err)
	}
	dp.port = port
	if err := dp.links.EnsureRoutes(dp.link.Index, dp.fixed.Pool); err != nil {
		return err
	}
	if dp.links.Writes() != writes {
		note("set up addresses and routes")
	}
	// Last, as the port is known only now.
	opened, err := dp.bringGuests()
	note(opened...)
	return err
}

// rulesConfig is what the tables are made for.
func (dp *Dataplane) rulesConfig(policy *rules.Policy) rules.Config {
	return rules.Config{
		Interface: dp.cfg.Interface, IFB: dp.ifb.Name, IFBIndex: dp.ifb.Index, Uplink: dp.cfg.Uplink,
		Masquerade: dp.cfg.NAT == NATMasquerade, SourceAddrs: dp.cfg.SourceAddrs,
		Pool: dp.fixed.Pool, ControlPorts: dp.cfg.ControlPorts, ControlAllow: dp.allowed, Policy: policy,
		Objects: savedObjects(dp.sysctls),
	}
}
