package conformance

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

const (
	// glance is how often progress is looked at.
	glance = 50 * time.Millisecond
	// mostGlances without progress, while a neighbour moved on, are a stall.
	mostGlances = 20
)

// testChangeUnderLoad raises and lowers limits while TCP runs. A new limit holds at once, the connection never stalls, and
// neighbours notice nothing.
func testChangeUnderLoad(t *testing.T, h Harness) {
	w := newWorld(t, h)
	steady := mbit(3)
	down := w.limited(tcpDown(internet4), mbit(4))
	up := w.limited(tcpUp(internet6), mbit(4))
	neighbour := w.limited(tcpDown(internet6), steady)
	datagrams := w.limited(flowSpec{network: "udp", direction: quota.Upload, server: internet4, pace: 2 * steady}, steady)

	stalls := w.watch(neighbour.flows[0], down.flows[0], up.flows[0])
	for _, rate := range []shaping.Rate{mbit(1.5), mbit(6)} {
		for _, c := range []*claim{&down, &up} {
			f := c.flows[0]
			w.setLimit(f.client.subject(), directedLimit(f.direction, rate))
			*c = w.claimOf(f, rate)
			w.restart(f)
		}
		w.hold(down, up, neighbour, datagrams)
	}
	stalls()
	for _, f := range []*flow{down.flows[0], up.flows[0], datagrams.flows[0]} {
		f.stop()
	}
	w.flutter()
}

// directedLimit limits one direction.
func directedLimit(d quota.Direction, rate shaping.Rate) shaping.Limit {
	if d == quota.Download {
		return shaping.Limit{Download: rate}
	}
	return shaping.Limit{Upload: rate}
}

// flutter changes limits many times in a row, while more datagrams come than may pass. If each change let some packets pass
// unshaped, or gave a full bucket away, they would add up to more than the highest of the limits; if each held packets up,
// to less than the lowest.
func (w *world) flutter() {
	w.t.Helper()
	const changes = 80
	high, low := mbit(6), mbit(4.5)
	var flows []*flow
	var before []uint64
	for _, d := range []quota.Direction{quota.Download, quota.Upload} {
		c := w.join(wgnode.PeerSpec{SpeedLimit: both(high)})
		flows = append(flows, w.begin(c, flowSpec{network: "udp", direction: d, server: internet4, pace: 2 * high}))
	}
	clock := watchClock()
	defer clock.stop()
	time.Sleep(settling)
	began := time.Now()
	for _, f := range flows {
		before = append(before, w.passed(f))
	}
	for i := range changes {
		for _, f := range flows {
			w.setLimit(f.client.subject(), both([]shaping.Rate{high, low}[i%2]))
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i, f := range flows {
		rate := bitsPerSecond(w.passed(f)-before[i], time.Since(began))
		w.t.Logf("%s passes %.3f Mbit/s while the limit changes between %v and %v", f.name, rate/1e6, low, high)
		require.LessOrEqual(w.t, rate, float64(high)*(1+tolerance), "%s: changes of the limit let packets pass unshaped", f.name)
		if clock.late() <= mostStarved {
			require.GreaterOrEqual(w.t, rate, float64(low)*(1-tolerance), "%s: changes of the limit hold packets up", f.name)
		}
	}
}

// watch looks for stalls of flows until the function that it returns is called, which asserts that there were none. Time
// in which the reference made no progress either does not count: then it was the machine.
func (w *world) watch(reference *flow, flows ...*flow) (check func()) {
	clock := watchClock()
	w.t.Cleanup(sync.OnceFunc(clock.stop))
	done, result := make(chan struct{}), make(chan []int, 1)
	stop := sync.OnceFunc(func() { close(done) })
	w.t.Cleanup(stop)
	go func() {
		ticker := time.NewTicker(glance)
		defer ticker.Stop()
		longest, run, last := make([]int, len(flows)), make([]int, len(flows)), make([]uint64, len(flows))
		lastReference := reference.delivered()
		for {
			select {
			case <-done:
				result <- longest
				return
			case <-ticker.C:
			}
			now := reference.delivered()
			moved := now > lastReference
			lastReference = now
			for i, f := range flows {
				now := f.delivered()
				switch {
				case now > last[i]:
					run[i] = 0
				case moved:
					run[i]++
				}
				last[i], longest[i] = now, max(longest[i], run[i])
			}
		}
	}()
	return func() {
		w.t.Helper()
		stop()
		starved := clock.late()
		for i, glances := range <-result {
			if w.traits.Emulated && starved > mostStarved && glances >= mostGlances {
				w.t.Logf("%s stalled for %v, and the machine kept this process waiting for %.0f %% of the time",
					flows[i].name, time.Duration(glances)*glance, 100*starved)
				continue
			}
			require.Less(w.t, glances, mostGlances,
				"%s stalled for %v while %s went on", flows[i].name, time.Duration(glances)*glance, reference.name)
		}
	}
}

// testThrottle has a cap end in a lower speed, both of a peer and of an account.
func testThrottle(t *testing.T, h Harness) {
	w := newWorld(t, h)
	slow := mbit(1)
	limit := quota.Cap{Bytes: 300_000, AtEnd: quota.Throttle, ThrottleDownload: uint64(slow), ThrottleUpload: uint64(slow)}
	events := w.node.Subscribe()

	fast := both(mbit(20))
	down := w.begin(w.join(wgnode.PeerSpec{SpeedLimit: fast, DataCap: limit}), tcpDown(internet4))
	up := w.begin(w.join(wgnode.PeerSpec{SpeedLimit: fast, DataCap: limit}), tcpUp(internet6))
	w.putAccount(wgnode.AccountSpec{ID: "throttled", SpeedLimit: fast, DataCap: limit})
	shared := claim{name: "account throttled", rate: slow, lift: w.unthrottle(wgnode.OfAccount("throttled"))}
	for range 2 {
		shared.flows = append(shared.flows, w.begin(w.join(wgnode.PeerSpec{Account: "throttled"}), tcpDown(internet4)))
	}
	subjects := []wgnode.Subject{down.client.subject(), up.client.subject(), wgnode.OfAccount("throttled")}
	w.capsReached(events, subjects...)
	for _, f := range append(shared.flows, down, up) {
		w.restart(f)
	}
	claims := []claim{shared}
	for _, f := range []*flow{down, up} {
		c := w.claimOf(f, slow)
		c.lift = w.unthrottle(f.client.subject())
		claims = append(claims, c)
	}
	w.hold(claims...)

	// More volume brings the speed back.
	for _, s := range subjects[:2] {
		require.NoError(t, w.node.SetDataCap(w.ctx, s, quota.Cap{}))
		w.setLimit(s, both(mbit(4)))
	}
	w.restart(down)
	w.restart(up)
	w.hold(w.claimOf(down, mbit(4)), w.claimOf(up, mbit(4)))
}

// unthrottle lifts the limit that a cap imposes, for good.
func (w *world) unthrottle(s wgnode.Subject) func() (restore func()) {
	return func() (restore func()) {
		require.NoError(w.t, w.node.SetDataCap(w.ctx, s, quota.Cap{}))
		return func() {}
	}
}
