package demo

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

const (
	mbps = shaping.Rate(1_000_000)

	alice = "alice"
	bob   = "bob"
)

// cast is who takes part: peers of two accounts, and what is to be found out about them.
type cast struct {
	speeds  []*speedTest
	shared  sharedTest
	block   capTest
	slow    capTest
	rogue   *client // claims the address of a peer of alice
	probes  []*probe
	listens []*listener
}

// assemble adds the accounts and the peers, connects the clients and opens the servers.
func assemble(ctx context.Context, l *lab) (*cast, error) {
	c := &cast{shared: sharedTest{account: bob, limit: 16 * mbps}}
	for _, account := range []wgnode.AccountSpec{{ID: alice}, {ID: bob, SpeedLimit: shaping.Limit{Download: c.shared.limit}}} {
		if _, err := l.node.PutAccount(ctx, account); err != nil {
			return nil, err
		}
	}
	if err := c.connect(ctx, l); err != nil {
		return nil, err
	}
	source4, err := l.web.serveTCP(netip.MustParseAddrPort("203.0.113.80:8001"), source)
	if err != nil {
		return nil, err
	}
	c.block = capTest{lab: l, name: "capped", from: source4, speed: 20 * mbps, amount: 2 * quota.MiB}
	c.slow = capTest{lab: l, name: "throttled", from: source4, speed: 12 * mbps, amount: 4 * quota.MiB, slow: 3 * mbps}
	if err := c.prepareProbes(ctx, l); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// connect adds the peers that stay, all at once.
func (c *cast) connect(ctx context.Context, l *lab) error {
	c.speeds = []*speedTest{
		{name: "laptop", account: alice, transport: networkTCP, limit: shaping.Limit{Download: 12 * mbps, Upload: 6 * mbps}},
		{name: "phone", account: alice, transport: networkTCP, limit: shaping.Limit{Download: 6 * mbps, Upload: 3 * mbps}, v6: true},
		{name: "tv", account: bob, transport: networkUDP, limit: shaping.Limit{Download: 10 * mbps, Upload: 5 * mbps}},
	}
	var all errgroup.Group
	for i, t := range c.speeds {
		if err := t.prepare(l.web, byte(i+1)); err != nil {
			return err
		}
		all.Go(func() (err error) {
			t.client, err = l.join(ctx, wgnode.PeerSpec{Name: t.name, Account: t.account, SpeedLimit: t.limit})
			return err
		})
	}
	c.shared.members = []sharedMember{
		{&speedTest{name: "desktop", account: bob, transport: networkTCP}, 1},
		{&speedTest{name: "tablet", account: bob, transport: networkTCP}, 4},
	}
	for i, m := range c.shared.members {
		if err := m.prepare(l.web, byte(i+11)); err != nil {
			return err
		}
		all.Go(func() (err error) {
			m.client, err = l.join(ctx, wgnode.PeerSpec{Name: m.name, Account: bob})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	var err error
	c.rogue, err = l.join(ctx, wgnode.PeerSpec{Name: "rogue", Account: bob}, c.speeds[0].client.peer.Addrs...)
	return err
}

// prepareProbes opens what the probes try to reach: each target listens, and the node's dialer would find it.
func (c *cast) prepareProbes(ctx context.Context, l *lab) error {
	laptop, phone, tv := c.speeds[0].client, c.speeds[1].client, c.speeds[2].client
	for _, to := range []struct {
		name   string
		peer   *client
		family netip.Addr
	}{
		{"peer of the same account", phone, netip.IPv4Unspecified()},
		{"peer of another account", tv, netip.IPv6Unspecified()},
	} {
		at := netip.AddrPortFrom(to.peer.addr(to.family), 8080)
		s, err := to.peer.listen(ctx, at)
		if err != nil {
			return err
		}
		c.listens = append(c.listens, s)
		c.probes = append(c.probes, &probe{name: to.name, from: laptop, to: place{networkTCP, at}, want: blocked, peer: s, reason: isolation.ReasonPeer})
	}
	for _, to := range []struct {
		name   string
		addr   string
		want   string
		reason isolation.Reason
	}{
		{"host loopback", "", blocked, isolation.ReasonHost},
		{"private range, IPv4", "192.168.1.1:80", blocked, isolation.ReasonPrivate},
		{"private range, IPv6", "[fd12:3456:789a::1]:80", blocked, isolation.ReasonPrivate},
		{"cloud metadata", "169.254.169.254:80", blocked, isolation.ReasonMetadata},
		{"mail, TCP port 25", "192.0.2.25:25", blocked, isolation.ReasonSMTP},
		{"web server, IPv4", "192.0.2.80:80", reached, 0},
		{"web server, IPv6", "[2001:db8::80]:80", reached, 0},
	} {
		var at netip.AddrPort // invalid: where the server really is
		if to.addr != "" {
			at = netip.MustParseAddrPort(to.addr)
		}
		s, err := l.web.serveTCP(at, greet)
		if err != nil {
			return err
		}
		c.probes = append(c.probes, &probe{name: to.name, from: laptop, to: s.place, want: to.want, target: s, reason: to.reason})
	}
	for i, to := range []struct{ name, want string }{
		{"own source address", reached},
		{"source address of laptop", blocked},
	} {
		// A server for each, so that what one saw is not taken for what the other did.
		s, err := l.web.serveUDP(netip.MustParseAddrPort(fmt.Sprintf("203.0.113.%d:53", 53+i)), echo)
		if err != nil {
			return err
		}
		p := &probe{name: to.name, from: c.rogue, to: s.place, want: to.want, target: s, source: c.rogue.addr(s.addr.Addr())}
		if to.want == blocked {
			p.source = laptop.addr(s.addr.Addr())
		}
		c.probes = append(c.probes, p)
	}
	return nil
}

// close closes the clients' servers.
func (c *cast) close() {
	for _, s := range c.listens {
		s.close()
	}
}
