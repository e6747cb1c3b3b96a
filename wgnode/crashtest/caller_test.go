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
	// leisurely: it asks a few times in a second, and not as often as it can.
	leisurely bool
	// mends says that a sync may mend, while packets pass, what a quota that is used up has changed meanwhile.
	mends bool
	// sent is what may have been counted, by the usage log if not by the node, for subjects in all lives before.
	sent map[subject]quota.Counters
	// doubt is the call that was cut off, and not yet known to be made or not; retry is one to be made again.
	doubt, retry *operation
	// ended is how many peers came to their end, and rolled how many periods, as far as it was seen.
	ended, rolled int
	// graves says of peers that came to their end when that was, and by when the node was to know.
	graves map[wgtypes.Key]string
	// doubted is when it was asked.
	doubted span

	// What follows is about one life. born is before it began.
	born    time.Time
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
	// closes is when a peer may be closed at the earliest, and extended whose time was changed.
	closes   map[subject]time.Time
	extended map[subject]bool
	// offsets is how far the counters of a subject are ahead of what is used in the period that began in this life.
	offsets map[subject]uint64
}

// begin begins a life.
func (c *caller) begin(seen *contents, born time.Time) {
	c.born = born
	for s := range c.base {
		c.sent[s] = c.everSent(s)
	}
	c.began, c.calls, c.buried, c.clients = time.Now(), 0, false, nil
	c.base, c.touched = make(map[subject]wgnode.Usage), make(map[subject]bool)
	c.recapped, c.topped = make(map[subject]bool), make(map[subject]quota.Bytes)
	c.closes, c.extended = make(map[subject]time.Time), make(map[subject]bool)
	c.offsets = make(map[subject]uint64)
	c.caps = c.shard.caps()
	for key, p := range c.shard.peers {
		c.closes[subject{Peer: key}] = p.spec.ExpiresAt
	}
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
		if c.leisurely {
			p.pause(microseconds(r, 400_000))
		} else if r.IntN(3) == 0 {
			p.pause(microseconds(r, 3000))
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
	at := span{from: now()}
	if at.done = at.from.Add(-lateness); at.done.Before(c.born) {
		at.done = c.born
	}
	c.bury(at.done)
	c.touch(o)
	c.expect(o, at)
	came := c.sum(o.Subject, (*tally).came)
	a, err := p.call(o)
	at.to = now()
	switch {
	case err != nil:
		c.doubt, c.doubted = &o, at
		return err
	case a.Condition == closed:
		c.note()
		return errClosed
	}
	after, err := c.shard.settle(o, a, at)
	if err != nil {
		return fmt.Errorf("%w; asked at %v, in a life since %v%s", err, at.from, c.born, c.epitaphs(o))
	}
	if len(a.Repairs) > 0 && !c.mends {
		return fmt.Errorf("a sync mended what nobody broke: %v", a.Repairs)
	}
	c.calls++
	for _, key := range c.shard.leaving(at.to) {
		if after.peers[key] == nil && len(o.Keys) == 0 {
			c.ended++
		}
	}
	if a.Condition == made && o.Kind == reading {
		if err := errors.Join(c.judge(o.Subject, a.Usage.Counters, came), c.judgeReading(o.Subject, a.Usage, at)); err != nil {
			return err
		}
	}
	c.shard = after
	defer c.note()
	if a.Condition != made {
		return nil
	}
	return c.learn(a, at)
}

// bury takes away the peers whose time was over by then.
func (c *caller) bury(by time.Time) {
	for _, p := range c.shard.bury(by) {
		c.ended++
		if c.graves == nil {
			c.graves = make(map[wgtypes.Key]string)
		}
		c.graves[p.spec.PublicKey] = fmt.Sprintf("it expired at %v, with a grace period of %v, and had to be gone by %v",
			p.spec.ExpiresAt, p.spec.GracePeriod, by)
	}
}

// epitaphs tells of the peers that an operation is about and that came to their end.
func (c *caller) epitaphs(o operation) (text string) {
	about := append([]wgtypes.Key{o.Subject.Peer}, o.Keys...)
	for _, spec := range o.Peers {
		about = append(about, spec.PublicKey)
	}
	for _, key := range about {
		if c.graves[key] != "" {
			text += fmt.Sprintf("; peer %s: %s", key, c.graves[key])
		}
	}
	return text
}

// expect notes what an operation releases of addresses, if it is made.
func (c *caller) expect(o operation, at span) {
	for _, gone := range c.shard.removed(o, at) {
		c.register.release(gone.addrs, sooner(at.from, sooner(gone.left, gone.end())), at.from.Add(patience))
	}
	if o.Kind != expiring && o.Kind != extending {
		return
	}
	next := c.shard.after(o, at)
	for _, p := range c.shard.of(o.Subject) {
		if end := sooner(p.left, sooner(p.end(), next.peers[p.spec.PublicKey].end())); !end.IsZero() {
			c.register.release(p.addrs, end, end.Add(patience))
		}
	}
}

// note notes when the addresses are released of all peers that are there.
func (c *caller) note() {
	for _, p := range c.shard.peers {
		if end := sooner(p.left, p.end()); !end.IsZero() {
			c.register.release(p.addrs, end, end.Add(patience))
		} else {
			c.register.keep(p.addrs)
		}
	}
}

// touch notes what an operation may do to usage and caps.
func (c *caller) touch(o operation) {
	c.noteEnds(o)
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
	case reading, limiting, expiring, extending:
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
func (c *caller) learn(a answer, at span) error {
	var errs []error
	for _, added := range a.Added {
		errs = append(errs, c.meet(added.Peer, at, at.to))
	}
	if a.Account.ID != "" {
		errs = append(errs, c.meetAccount(a.Account, at.to))
	}
	return errors.Join(errs...)
}

func (c *caller) meet(got wgnode.Peer, at span, by time.Time) error {
	p := c.shard.peers[got.PublicKey]
	if p.sequence != 0 {
		return p.compare(got, at)
	}
	p.sequence, p.addrs = got.Sequence, got.Addrs
	return c.register.lease("peer "+got.PublicKey.String(), got.Addrs, got.Sequence, by)
}

func (c *caller) meetAccount(got wgnode.Account, by time.Time) error {
	a := c.shard.accounts[got.ID]
	if a.sequence != 0 {
		return a.compare(got)
	}
	a.sequence = got.Sequence
	return c.register.lease("account "+got.ID, nil, got.Sequence, by)
}

// resolve decides what became of the call that was cut off, from what the next life has, and compares all the rest. It
// reports whether the call was made.
func (c *caller) resolve(seen *contents, at span, died time.Time) (wasMade bool, err error) {
	before := c.shard
	c.shard = before.settled(seen, at)
	c.ended += len(before.peers) - len(c.shard.peers)
	if err = c.shard.compare(seen, at); err != nil && c.doubt != nil {
		other := errors.New("it was refused")
		for v := range before.variants(c.doubted.to) {
			c.shard = v.after(*c.doubt, c.doubted).settled(seen, at)
			if other = c.shard.compare(seen, at); other == nil {
				break
			}
		}
		if other != nil {
			return false, fmt.Errorf("%s was cut off; had it not been made: %w; had it been: %w", describe(*c.doubt), err, other)
		}
		wasMade, err = true, nil
	}
	if err != nil {
		return false, err
	}
	if c.doubt != nil {
		if len(c.doubt.Peers) > 0 {
			c.retry = c.doubt
		}
		for _, spec := range c.doubt.Peers {
			if p := (modelPeer{spec: spec}); isPast(p.end(), at.to) {
				c.register.hide(at.to)
			}
		}
		c.doubt = nil
	}
	var errs []error
	for _, p := range seen.Peers {
		if c.shard.owns(p.PublicKey) {
			errs = append(errs, c.meet(p, at, died))
		}
	}
	for _, a := range seen.Accounts {
		if c.shard.accounts[a.ID] != nil {
			errs = append(errs, c.meetAccount(a, died))
		}
	}
	c.note()
	return wasMade, errors.Join(errs...)
}
