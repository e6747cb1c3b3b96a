package conformance

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// besideRate is the highest rate at which all kinds of flows are measured beside each other; above it each has the machine
// for itself.
const besideRate shaping.Rate = 10_000_000

// testRate holds single flows of every kind to each rate: TCP and UDP, download and upload, in both families.
func testRate(t *testing.T, h Harness) {
	t.Run("beside", func(t *testing.T) {
		w := newWorld(t, h)
		var claims []claim
		for _, rate := range h.Rates {
			if rate <= besideRate {
				for i, spec := range kinds(rate) {
					spec.server = []netip.Addr{internet4, internet6}[i%2]
					claims = append(claims, w.limited(spec, rate))
				}
			}
		}
		if len(claims) == 0 {
			t.Skip("the harness has no such rate")
		}
		w.hold(claims...)
	})
	for _, rate := range h.Rates {
		if rate <= besideRate {
			continue
		}
		t.Run(rate.String(), func(t *testing.T) {
			w := newWorld(t, h)
			for i, spec := range kinds(rate) {
				spec.server = []netip.Addr{internet6, internet4}[i/2]
				c := w.limited(spec, rate)
				w.hold(c)
				c.flows[0].stop()
				c.flows[0].client.disconnect()
			}
		})
	}
}

// kinds are the kinds of flows of a rate.
func kinds(rate shaping.Rate) []flowSpec {
	pace := rate + rate/6 // enough to fill the limit, and more
	return []flowSpec{
		{network: "tcp", direction: quota.Download},
		{network: "tcp", direction: quota.Upload},
		{network: "udp", direction: quota.Upload, pace: pace},
		{network: "udp", direction: quota.Download, pace: pace},
	}
}

// limited adds a peer with a limit in the direction of the flow, and begins the flow.
func (w *world) limited(spec flowSpec, rate shaping.Rate) claim {
	w.t.Helper()
	limit := directedLimit(spec.direction, rate)
	c := w.claimOf(w.begin(w.join(wgnode.PeerSpec{SpeedLimit: limit}), spec), rate)
	c.name = fmt.Sprintf("%v %v", rate, spec)
	return c
}

// testSharedLimits has peers share what their account and the node give them.
func testSharedLimits(t *testing.T, h Harness) {
	t.Run("account", func(t *testing.T) {
		w := newWorld(t, h)
		down := w.share("download", mbit(8), tcpDown(internet4), tcpDown(internet6))
		up := w.share("upload", mbit(6), tcpUp(internet4), tcpUp(internet6))
		// Of two datagram flows neither yields to the other: what is fair is the dataplane's doing.
		datagrams := w.share("datagrams", mbit(4),
			flowSpec{network: "udp", direction: quota.Download, server: internet4, pace: mbit(5)},
			flowSpec{network: "udp", direction: quota.Download, server: internet6, pace: mbit(20)})

		// One member with a limit of its own keeps it, and leaves the rest to the other.
		mixed := w.share("own limit", mbit(6), tcpDown(internet4))
		slow := w.claimOf(w.begin(w.join(wgnode.PeerSpec{
			Account: "own limit", SpeedLimit: shaping.Limit{Download: mbit(1.5)},
		}), tcpDown(internet4)), mbit(1.5))
		mixed.flows = append(mixed.flows, slow.flows...)

		if w.hold(down, up, datagrams, mixed, slow) {
			w.fair(down)
			w.fair(up)
			w.fair(datagrams)
		}
	})
	t.Run("node", func(t *testing.T) {
		ceiling := mbit(10)
		w := newWorld(t, h, func(c *wgnode.Config) { c.SpeedLimit = shaping.Limit{Download: ceiling} })
		account := w.share("account", mbit(8), tcpDown(internet4))
		alone := w.begin(w.join(wgnode.PeerSpec{}), tcpDown(internet6))
		all := claim{name: "node", flows: append([]*flow{alone}, account.flows...), rate: ceiling, lift: func() (restore func()) {
			require.NoError(t, w.node.SetNodeSpeedLimit(w.ctx, shaping.Limit{}))
			return func() { require.NoError(t, w.node.SetNodeSpeedLimit(w.ctx, shaping.Limit{Download: ceiling})) }
		}}
		if w.hold(all) {
			w.fair(all)
		}
	})
}

func tcpDown(server netip.Addr) flowSpec {
	return flowSpec{network: "tcp", direction: quota.Download, server: server}
}

func tcpUp(server netip.Addr) flowSpec {
	return flowSpec{network: "tcp", direction: quota.Upload, server: server}
}

// share makes an account with a limit and a peer in it for each flow.
func (w *world) share(id string, rate shaping.Rate, specs ...flowSpec) claim {
	w.t.Helper()
	w.putAccount(wgnode.AccountSpec{ID: id, SpeedLimit: both(rate)})
	c := claim{name: "account " + id, rate: rate, lift: w.lifter(wgnode.OfAccount(id), both(rate))}
	for _, spec := range specs {
		c.flows = append(c.flows, w.begin(w.join(wgnode.PeerSpec{Account: id}), spec))
	}
	return c
}

// leastFair is how much less than the other the one of two equal peers may get, over some seconds of TCP.
const leastFair = 0.6

// fair asserts that the two flows of a claim got about the same: since they began or, as one of them may have found its pace late
// on a busy machine, over the last windows of some.
func (w *world) fair(c claim) {
	w.t.Helper()
	type pair [2]uint64
	now := func() pair { return pair{c.flows[0].delivered(), c.flows[1].delivered()} }
	moments := []pair{{}, now()}
	for {
		last := moments[len(moments)-1]
		for _, from := range moments[:len(moments)-1] {
			if ratio(last[0]-from[0], last[1]-from[1]) >= leastFair {
				return
			}
		}
		if len(moments) > maxWindows {
			w.t.Errorf("%s is not shared fairly, over no span of %v: %d bytes", c.name, window, moments)
			return
		}
		time.Sleep(window)
		moments = append(moments, now())
	}
}
