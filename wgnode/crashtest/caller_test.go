package crashtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// caller asks things of a node, one after the other, and remembers what the node must have.
type caller struct {
	shard    *shard
	register *register
	// mends says that a sync may mend, while packets pass, what a quota that is used up has changed meanwhile.
	mends bool
	// doubt is the call that was cut off, and not yet known to be made or not; retry is one to be made again.
	doubt, retry *operation

	// What follows is about one life.
	began   time.Time
	calls   int
	buried  bool      // it is over
	clients []*client // of the shard's peers
	// base is what the shard's subjects had used when the life began.
	base map[subject]wgnode.Usage
	// caps are those that the subjects had then.
	caps map[subject]quota.Cap
	// touched are subjects whose usage starts anew, or whose traffic may be somebody else's by now.
	touched map[subject]bool
	// recapped are those whose cap has changed, but for topping up, and topped by how much others were topped up.
	recapped map[subject]bool
	topped   map[subject]quota.Bytes
}

// begin begins a life.
func (c *caller) begin(seen *contents) {
	c.began, c.calls, c.buried, c.clients = time.Now(), 0, false, nil
	c.base, c.touched = make(map[subject]wgnode.Usage), make(map[subject]bool)
	c.recapped, c.topped = make(map[subject]bool), make(map[subject]quota.Bytes)
	c.caps = c.shard.caps()
	for _, s := range c.shard.present() {
		c.base[s] = seen.Usage[s.String()]
	}
}

// run makes calls until the process dies or closes. In a calm life they leave those alone whose devices are connected.
func (c *caller) run(p *process, calm bool, r *rand.Rand) error {
	if c.retry != nil {
		o := *c.retry
		o.Patience, c.retry = 0, nil
		if err := c.ask(p, o); err != nil {
			return over(err)
		}
	}
	for {
		o := draw(r, c.shard)
		if calm && c.concerns(o) {
			continue
		}
		if err := c.ask(p, o); err != nil {
			return over(err)
		}
		if r.IntN(3) == 0 {
			time.Sleep(microseconds(r, 3000))
		}
	}
}

var errClosed = errors.New("the node was closed")

// over makes the ends that a life may have no error.
func over(err error) error {
	if errors.Is(err, errKilled) || errors.Is(err, errClosed) {
		return nil
	}
	return err
}

// ask makes a call, checks the answer, and makes of the model what the call has made of the node.
func (c *caller) ask(p *process, o operation) error {
	c.touch(o)
	asked := time.Now()
	for _, gone := range c.shard.removed(o) {
		c.register.release(gone.addrs, asked)
	}
	came := c.sum(o.Subject, (*tally).came)
	a, err := p.call(o)
	switch {
	case err != nil:
		c.doubt = &o
		return err
	case a.Condition == closed:
		c.undo(o)
		return errClosed
	}
	if err := c.shard.check(o, a); err != nil {
		return err
	}
	if len(a.Repairs) > 0 && !c.mends {
		return fmt.Errorf("a sync mended what nobody broke: %v", a.Repairs)
	}
	c.calls++
	if a.Condition != made {
		c.undo(o)
		return nil
	}
	if o.Kind == reading {
		if err := c.judge(o.Subject, a.Usage.Counters, came); err != nil {
			return err
		}
	}
	c.shard = c.shard.after(o)
	return c.learn(a, time.Now())
}

// undo takes back what was noted for a removal that was not made.
func (c *caller) undo(o operation) {
	for _, kept := range c.shard.removed(o) {
		c.register.keep(kept.addrs)
	}
}

// touch notes what an operation may do to usage and caps.
func (c *caller) touch(o operation) {
	for _, spec := range o.Peers {
		c.touched[subject{Peer: spec.PublicKey}] = true
		c.touched[subject{Account: spec.Account}] = true
	}
	for _, key := range o.Keys {
		c.touched[subject{Peer: key}] = true
		if p := c.shard.peers[key]; p != nil {
			c.touched[subject{Account: p.spec.Account}] = true
		}
	}
	if id := o.Account.ID; id != "" {
		c.recapped[subject{Account: id}] = true
		if c.shard.accounts[id] == nil || operations[o.Kind].want != nil { // it begins, or may end
			c.touched[subject{Account: id}] = true
		}
	}
	switch o.Kind {
	case reading, limiting:
	case toppingUp:
		c.topped[o.Subject] += o.Bytes
	default:
		c.recapped[o.Subject] = true
	}
}

// concerns reports whether an operation is about a client's peer or account, and more than a look.
func (c *caller) concerns(o operation) bool {
	return o.Kind != reading && slices.ContainsFunc(c.clients, func(k *client) bool {
		about := func(s subject) bool { return s == k.peer || k.account.Account != "" && s == k.account }
		return about(o.Subject) || about(subject{Account: o.Account.ID}) ||
			slices.ContainsFunc(o.Keys, func(key wgtypes.Key) bool { return about(subject{Peer: key}) }) ||
			slices.ContainsFunc(o.Peers, func(p wgnode.PeerSpec) bool {
				return about(subject{Peer: p.PublicKey}) || about(subject{Account: p.Account})
			})
	})
}

// learn takes over what the node has chosen for what it was given.
func (c *caller) learn(a answer, by time.Time) error {
	var errs []error
	for _, added := range a.Added {
		errs = append(errs, c.meet(added.Peer, by))
	}
	if a.Account.ID != "" {
		errs = append(errs, c.meetAccount(a.Account, by))
	}
	return errors.Join(errs...)
}

func (c *caller) meet(got wgnode.Peer, by time.Time) error {
	p := c.shard.peers[got.PublicKey]
	if p.sequence != 0 {
		return p.compare(got)
	}
	p.sequence, p.addrs = got.Sequence, got.Addrs
	return c.register.lease("peer "+got.PublicKey.String(), got.Addrs, got.Sequence, by)
}

func (c *caller) meetAccount(got wgnode.Account, by time.Time) error {
	a := c.shard.accounts[got.ID]
	if a.sequence != 0 {
		return a.compare(got, c.shard.membersOf(got.ID))
	}
	a.sequence = got.Sequence
	return c.register.lease("account "+got.ID, nil, got.Sequence, by)
}

// resolve decides what became of the call that was cut off, from what the next life has, and compares all the rest. It
// reports whether the call was made.
func (c *caller) resolve(seen *contents, died time.Time) (wasMade bool, err error) {
	before := c.shard
	if err = before.compare(seen); err != nil && c.doubt != nil {
		c.shard = before.after(*c.doubt)
		if other := c.shard.compare(seen); other != nil {
			return false, fmt.Errorf("%s was cut off; had it not been made: %w; had it been: %w", describe(*c.doubt), err, other)
		}
		wasMade, err = true, nil
	}
	if err != nil {
		return false, err
	}
	if c.doubt != nil {
		if !wasMade {
			c.shard = before
			c.undo(*c.doubt)
		}
		if len(c.doubt.Peers) > 0 {
			c.retry = c.doubt
		}
		c.doubt = nil
	}
	var errs []error
	for _, p := range seen.Peers {
		if c.shard.owns(p.PublicKey) {
			errs = append(errs, c.meet(p, died))
		}
	}
	for _, a := range seen.Accounts {
		if c.shard.accounts[a.ID] != nil {
			errs = append(errs, c.meetAccount(a, died))
		}
	}
	return wasMade, errors.Join(errs...)
}
