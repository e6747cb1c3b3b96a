package crashtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/quota"
)

const (
	callers         = 4
	keysOfCaller    = 6
	namesOfCaller   = 2
	clientsOfLife   = 2
	stateFile       = "state.db"
	quarantine      = 2 * time.Second
	quarantineSlack = 2 * time.Second // in which a node notices that one is over
)

// site is what a campaign needs to know of the dataplane.
type site interface {
	// keeps says who has what was counted by a node that was killed.
	keeps() kept
	// inspect looks at what there is when a node has started that has these contents and nobody has asked anything of.
	inspect(c *contents) error
	// inspectGrave looks at what there is when a process is no more. Closed says that it ended in peace.
	inspectGrave(closed bool) error
	// forget says that what inspect has looked at last was changing.
	forget()
}

// mostForgotten is how long before a death what came is stored: a checkpoint is due every second, as here a tenth of a second is
// more than one takes. The rest is for a machine that keeps the node waiting.
const mostForgotten = 4 * checkpointPeriod

// campaign is a row of lives of one node.
type campaign struct {
	site     site
	order    order
	net      internet
	ports    uint16 // that a peer sends from
	flows    *flows
	rand     *rand.Rand
	seed     uint64
	state    string // directory of the state
	temp     string // directory for temporary files
	mirror   *mirror
	callers  []*caller
	register *register
	lives    uint64
	begun    time.Time
	// started and looked say that the node did, and was, in the life that was last.
	started, looked bool
	died            time.Time
	last            plan // of the life before
	// kept is what became, since the node was looked at last, of what its dataplane had counted.
	kept kept
	// peace says that since then nobody was killed.
	peace bool
	birth time.Duration // what the last start took
	// written is by when all that had come in the life before must be stored.
	written time.Time
	sum     *summary
}

func newCampaign(s site, o order, n internet, ports uint16, f *flows, seed uint64, dir string, sum *summary) (*campaign, error) {
	c := &campaign{
		site: s, order: o, net: n, ports: ports, flows: f, rand: rand.New(rand.NewPCG(seed, 0)), seed: seed, mirror: newMirror(), kept: s.keeps(), peace: true,
		state: filepath.Join(dir, "state"), temp: filepath.Join(dir, "tmp"),
		register: &register{quarantine: quarantine, resting: make(map[netip.Addr]rest), sequences: make(map[uint64]string)},
		birth:    50 * time.Millisecond, sum: sum, begun: now(),
	}
	c.order.Store, c.order.Quarantine = filepath.Join(c.state, stateFile), quarantine
	c.order.UsageLog = filepath.Join(dir, "usage")
	for i := range callers {
		// The last one leaves what it has time to come to an end.
		k := &caller{leisurely: i == callers-1, shard: newShard(c.rand, i, keysOfCaller, namesOfCaller), register: c.register, mends: s.keeps() == keptByKernel,
			sent: make(map[subject]quota.Counters)}
		k.begin(&contents{}, time.Time{})
		c.callers = append(c.callers, k)
	}
	return c, errors.Join(os.Mkdir(c.state, 0o700), os.Mkdir(c.temp, 0o700))
}

// run lives until there were so many kills.
func (c *campaign) run(kills int) error {
	defer func(begun time.Time) { c.sum.took += time.Since(begun) }(time.Now())
	for kills += c.sum.kills; c.sum.kills < kills; {
		c.lives++
		p := drawPlan(c.rand, c.birth)
		if c.lives == 1 && c.rand.IntN(2) == 0 { // while the file is made
			p = plan{early: c.birth/2 + microseconds(c.rand, int(c.birth/time.Microsecond)/2)}
		}
		if err := c.live(p); err != nil {
			return fmt.Errorf("life %d (%+v) after one (%+v): %w", c.lives, p, c.last, err)
		}
		c.last = p
	}
	for _, p := range []plan{{close: true, idle: true}, {close: true, idle: true}} { // what is left is there, and goes in peace
		c.lives++
		if err := c.live(p); err != nil {
			return fmt.Errorf("life %d, the last: %w", c.lives, err)
		}
	}
	return nil
}

// live is one life, and what is found after it.
func (c *campaign) live(p plan) error {
	c.order.Fault, c.started, c.looked = p.fault, false, false
	if err := prepareZones(now()); err != nil {
		return err
	}
	process, err := start(c.order, c.temp, c.mirror)
	if err != nil {
		return err
	}
	if p.early > 0 {
		defer time.AfterFunc(p.early, func() { _ = process.cmd.Process.Kill() }).Stop()
	}
	closedInPeace, err := c.spend(process, p)
	var ended error
	if closedInPeace && err == nil {
		ended = process.waitInPeace()
	} else {
		c.sum.kills++
		c.sum.by[p.String()]++
		ended = process.kill()
	}
	if err := errors.Join(err, ended); err != nil {
		return err
	}
	c.died = process.died
	c.peace = c.peace && closedInPeace
	if closedInPeace {
		c.kept = keptByStore
	} else if p.close && c.kept == keptByKernel {
		c.kept = keptByEither
	}
	return c.bury(closedInPeace)
}

// spend has a life go by, and reports whether it ended in peace.
func (c *campaign) spend(process *process, p plan) (closedInPeace bool, err error) {
	var node ready
	select {
	case node = <-process.ready:
	case <-process.ended:
		return false, nil // killed, else that is found out
	case <-time.After(patience):
		process.dump()
		return false, fmt.Errorf("the node has not started in %v", patience)
	}
	c.started = true
	c.birth = time.Since(process.born)
	c.sum.starts++
	c.sum.startTime += c.birth
	c.sum.slowest = max(c.sum.slowest, c.birth)
	if err := c.look(process); err != nil {
		return false, over(err)
	}
	if p.idle {
		err := process.close()
		return err == nil, over(err)
	}
	if err := c.connect(node); err != nil {
		return false, err
	}
	return c.ask(process, p)
}

// ask has all callers ask until the process is killed or closed, and reports whether it was closed.
func (c *campaign) ask(process *process, p plan) (closedInPeace bool, err error) {
	errs := make(chan error)
	for i, k := range c.callers {
		go func() { errs <- k.run(process, p.calm, rand.New(rand.NewPCG(c.seed, c.lives<<8|uint64(i+1)))) }()
	}
	closedBy := make(chan error, 1)
	end := time.AfterFunc(p.life, func() {
		if p.close {
			closedBy <- process.close()
			return
		}
		_ = process.cmd.Process.Kill()
	})
	var all []error
	for range c.callers {
		err := <-errs
		if all = append(all, err); err != nil {
			_ = process.cmd.Process.Kill()
		}
	}
	if end.Stop() {
		return false, errors.Join(all...)
	}
	if p.close {
		err = <-closedBy
		closedInPeace = err == nil
		all = append(all, over(err))
	}
	if p.fault.Nth > 0 && (closedInPeace || !p.close) {
		c.sum.missed++
	}
	return closedInPeace, errors.Join(all...)
}

// connect brings up the devices of some peers.
func (c *campaign) connect(node ready) error {
	left := clientsOfLife
	for _, i := range c.rand.Perm(len(c.callers)) {
		k := c.callers[i]
		for _, j := range c.rand.Perm(len(k.shard.keys)) {
			pair := k.shard.keys[j]
			p := k.shard.peers[pair.public]
			if p == nil || left == 0 {
				continue
			}
			left--
			client, err := connect(rand.New(rand.NewPCG(c.seed, c.lives<<8|uint64(128+left))), p, pair, node, c.flows, c.ports)
			if err != nil {
				return err
			}
			k.clients = append(k.clients, client)
		}
	}
	return nil
}

// bury looks at what a life has left.
func (c *campaign) bury(closedInPeace bool) error {
	for _, k := range c.callers {
		if !k.buried {
			for _, client := range k.clients {
				client.close()
			}
		}
	}
	// A kernel that goes on would have what still waits pass in the next life.
	if err := c.net.Settle(); err != nil {
		return err
	}
	var errs []error
	for _, k := range c.callers {
		if k.buried {
			continue
		}
		k.buried = true
		for _, client := range k.clients {
			came := client.tally.came()
			c.sum.passed += came.Download + came.Upload
		}
		exhausted, err := k.judgeCaps(c.died)
		errs = append(errs, err, k.judgeEnds())
		c.sum.exhausted += exhausted
		c.sum.ended, c.sum.rolled = c.sum.ended+k.ended, c.sum.rolled+k.rolled
		k.ended, k.rolled = 0, 0
		c.sum.calls += k.calls
	}
	if c.written = c.mirror.reading; !c.written.IsZero() {
		c.sum.checkpoints++
	}
	if due := c.died.Add(-mostForgotten); due.After(c.written) {
		c.written = due
	}
	stored, err := c.mirror.compare(c.order.Store)
	if stored {
		c.sum.batches++
	}
	return errors.Join(append(errs, err, c.mirror.err, c.judgeLog(), c.inspectFiles(), c.site.inspectGrave(closedInPeace))...)
}

// inspectFiles checks that nothing is left but the state.
func (c *campaign) inspectFiles() error {
	info, err := os.Stat(c.order.Store)
	making := "." + stateFile + ".new-"
	for dir, want := range map[string][]string{c.state: {stateFile}, c.temp: {}} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			killed := !c.started && strings.HasPrefix(e.Name(), making) // while the file was made
			if !slices.Contains(want, e.Name()) && !killed {
				return fmt.Errorf("%s was left in %s", e.Name(), dir)
			}
		}
	}
	if err == nil && info.Mode().Perm() != 0o600 {
		return fmt.Errorf("%s has mode %v", c.order.Store, info.Mode())
	}
	return nil
}
