package htb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/waylume/waylume/shaping"
)

// Direction is which half of a limit a device holds packets to.
type Direction uint8

// Directions, as a peer sees them.
const (
	Download Direction = iota + 1 // towards the peer
	Upload                        // from the peer
)

func (d Direction) of(l shaping.Limit) shaping.Rate {
	if d == Upload {
		return l.Upload
	}
	return l.Download
}

// Device is a network device that carries a tree. Its root qdisc belongs to the tree: another one there is replaced.
type Device struct {
	Index     int    // of the interface
	Name      string // for messages
	Direction Direction
}

// Config is what a [Tree] is made of.
type Config struct {
	// Planner turns limits into parameters; it must be set.
	Planner *shaping.Planner
	// Devices are one or two, each with a direction of its own.
	Devices []Device
	// Reserve is how many free leaves a goroutine keeps ready, so that a claim does not wait for the kernel to add one; an
	// eighth of what is claimed, but not more than 1,024, if that is more. With 0 it keeps none.
	Reserve int
	// Logger gets what the goroutine cannot do; nil discards it.
	Logger *slog.Logger
	// NetNS is a file descriptor of the network namespace of the devices, or 0 for that of the calling thread.
	NetNS int

	dial func(netns int) (kernel, error)
	// In tests: another MaxClasses, and no goroutine.
	most  int
	still bool
}

func (c *Config) check() error {
	var errs []error
	if c.Planner == nil {
		errs = append(errs, fmt.Errorf("%w: no Planner", ErrConfig))
	}
	if n := len(c.Devices); n < 1 || n > maxDevices {
		errs = append(errs, fmt.Errorf("%w: %d devices; give one for each direction, at most two", ErrConfig, n))
	}
	seen := make(map[Direction]string)
	for _, d := range c.Devices {
		if d.Index <= 0 {
			errs = append(errs, fmt.Errorf("%w: device %q has index %d; give the index of its interface", ErrConfig, d.Name, d.Index))
		}
		if d.Direction != Download && d.Direction != Upload {
			errs = append(errs, fmt.Errorf("%w: device %q has no direction", ErrConfig, d.Name))
		}
		if other, ok := seen[d.Direction]; ok {
			errs = append(errs, fmt.Errorf("%w: devices %q and %q have the same direction", ErrConfig, other, d.Name))
		}
		seen[d.Direction] = d.Name
	}
	return errors.Join(errs...)
}

const maxDevices = 2

// Tree is the classes of one node. Its methods are safe for concurrent use, and take turns: a call may wait for another, or
// for one step of the goroutine, 30 ms with 60,000 classes.
type Tree struct {
	config  Config
	log     *slog.Logger
	kernel  kernel
	written atomic.Uint64

	// turn is held by whoever uses what follows, netlink calls included; unlike a mutex it can be given up waiting for.
	turn      chan struct{}
	closed    bool
	pool      *pool
	nodes     [lastClass + 1]*node // what is known of the kernel's classes
	roots     [maxDevices]bool     // which devices have the root qdisc
	asRead    bool                 // nodes and roots are what was read last: nothing was written since
	rooted    bool                 // by Root
	queueKind queueKind            // queueNone until one was tried
	stale     map[Class]struct{}   // leaves whose queues are still sized for other ceilings above

	wake  chan struct{}
	stop  context.CancelFunc
	group sync.WaitGroup
}

// node is one class, of the pool or the root.
type node struct {
	limit shaping.Limit // while it is claimed
	sides [maxDevices]side
}

// side is a class on one device, as far as is known.
type side struct {
	class classParams
	queue queueParams
}

// Open reads the trees that the devices have, if any, and writes nothing: what is there, by an earlier process, is free until
// it is claimed by [Tree.Adopt]. Errors match [ErrConfig] and errno values; EPERM wants CAP_NET_ADMIN.
func Open(ctx context.Context, config Config) (*Tree, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.dial == nil {
		config.dial = dial
	}
	if config.most == 0 {
		config.most = MaxClasses
	}
	config.Devices = append([]Device(nil), config.Devices...)
	k, err := config.dial(config.NetNS)
	if err != nil {
		return nil, fmt.Errorf("htb: open a netlink socket: %w", err)
	}
	t := &Tree{
		config: config, log: config.Logger, kernel: k, pool: newPool(config.most), stale: make(map[Class]struct{}),
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.nodes[rootClass] = &node{}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	found, err := t.look()
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	t.restore(found)
	t.compare(found)
	background, stop := context.WithCancel(context.Background())
	t.stop = stop
	if !config.still {
		t.group.Go(func() { t.run(background) })
	}
	return t, nil
}

// Close ends the goroutine and closes the socket. The trees stay as they are. It can be called more than once.
func (t *Tree) Close() error {
	t.stop()
	t.group.Wait()
	t.turn <- struct{}{}
	defer t.leave()
	if t.closed {
		return nil
	}
	t.closed = true
	return t.kernel.close()
}

// enter waits for the turn.
func (t *Tree) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.closed {
		t.leave()
		return ErrClosed
	}
	return nil
}

// enterRooted is enter for what wants a root.
func (t *Tree) enterRooted(ctx context.Context) error {
	err := t.enter(ctx)
	if err == nil && !t.rooted {
		t.leave()
		err = ErrNoRoot
	}
	return err
}

func (t *Tree) leave() { <-t.turn }

// Stats are figures of a [Tree].
type Stats struct {
	Claimed  int    // leaves and groups in use
	Ready    int    // free leaves below the root that a claim finds ready
	Classes  int    // leaves and groups that there are, of MaxClasses
	FqCodel  bool   // leaves have fq_codel, not bfifo; known once there was a leaf
	Requests uint64 // that were written to the kernel since Open, failed ones included
}

// Stats returns figures of now.
func (t *Tree) Stats() Stats {
	t.turn <- struct{}{}
	defer t.leave()
	return Stats{
		Claimed: t.pool.claims, Ready: t.pool.readyLeaves(), Classes: t.pool.size, FqCodel: t.queueKind == queueFqCodel,
		Requests: t.written.Load(),
	}
}
