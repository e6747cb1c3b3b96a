package wgnode

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
)

// closeTimeout bounds each of the two last writings of usage.
const closeTimeout = 10 * time.Second

// Node is a VPN exit node. Its methods may be called from any goroutine. Changes are made one at a time, each whole or not
// at all; reading never waits for a change.
type Node struct {
	cfg    Config // checked, defaults filled in; never changed
	log    *slog.Logger
	life   lifecycle
	events *hub
	health *health
	inbox  *inbox

	// slot admits one change at a time; see acquire. Who holds it owns what follows up to mu.
	slot chan struct{}
	// arrivals are added by whoever gets the slot next.
	arrivals arrivals
	// owed are mutations whose opposite may have become durable although it was to be undone.
	owed    map[recordID]Mutation
	resting resting
	// keyDoubtful: the dataplane may have another private key than the node.
	keyDoubtful bool
	// usageLog writes Config.UsageLog; nil: there is none.
	usageLog *usageWriter

	failingMu sync.Mutex
	// failing are the periodic tasks whose last run failed, so that each is reported once.
	failing map[EventKind]error
	// lookAt is when the next checkpoint looks around; see pollAll.
	lookAt time.Time

	tasks tasks

	mu  sync.RWMutex
	inv inventory
	// up is what a start made; it is set before the node runs, and not changed while it does, but for the keys.
	up session
	// synced is when the dataplane was last seen to be, or brought to be, what it should.
	synced time.Time
}

// session is what holds from a start to the close.
type session struct {
	// publicKey, privateKey, base and overlap are written under mu.
	publicKey  wgtypes.Key
	privateKey *ecdh.PrivateKey
	base       keyRecord // what the store knows of the key, but for a former one
	overlap    overlap
	pool       *ipam.Pool
	info       DataplaneInfo
	since      time.Time
}

// owns reports whether clients know the node by a public key, or may.
func (s session) owns(key wgtypes.Key) bool {
	return key == s.publicKey || s.overlap.on() && key == s.overlap.public
}

// session returns what holds now.
func (n *Node) session() session {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.up
}

// New returns a node that does nothing yet. It checks the whole configuration, and copies it; what is wrong with it is one
// [*ValidationError] that names every problem. The node then owns the dataplane, the store and the usage log:
// Close closes them.
func New(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("wgnode: %w", err)
	}
	events := newHub(cfg.EventBuffer)
	n := &Node{
		cfg:     cfg,
		log:     cfg.Logger,
		life:    newLifecycle(),
		events:  events,
		health:  newHealth(cfg.Logger, events),
		inbox:   newInbox(),
		slot:    make(chan struct{}, 1),
		owed:    make(map[recordID]Mutation),
		failing: make(map[EventKind]error),
		inv:     newInventory(cfg.SpeedLimit, cfg.Policy),
	}
	if cfg.UsageLog != nil {
		n.usageLog = &usageWriter{
			log: cfg.UsageLog, logger: n.log, report: func(err error) {
				n.report(UsageLogFailed, err)
				n.health.logged(err)
			},
		}
	}
	return n, nil
}

// Start loads the store, leases the addresses it names, and brings the dataplane up with every peer, limit, cap and rule
// in force before the first packet can pass. ctx bounds the start, not the life of the node. A start that fails leaves
// nothing behind, and may be tried again if the dataplane can be: that of package userspace cannot, make another node with
// a new one. Errors: [ErrStarted], [ErrClosed], [*CorruptError], and what the store and the
// dataplane return.
func (n *Node) Start(ctx context.Context) error {
	ctx, err := n.life.beginStart(ctx)
	if err != nil {
		return &OpError{Op: "start", Err: err}
	}
	events, err := n.bringUp(ctx)
	lifetime, ok := n.life.endStart(err == nil)
	switch {
	case err != nil:
		return &OpError{Op: "start", Err: err}
	case !ok:
		return &OpError{Op: "start", Err: ErrClosed}
	}
	up := n.session()
	n.log.Info("node started", "dataplane", up.info.Name, "port", up.info.ListenPort, "public_key", up.publicKey)
	n.events.publish(events...)
	go n.run(lifetime)
	return nil
}

// Close stops traffic, writes usage to the store and to the usage log, to the last byte that passed, closes all of them, and joins
// every goroutine, but for one that waits for a usage log which does not answer. Changes under way are finished first. It may be
// called at any time, more than once, and before Start, which it then makes fail. It returns what could not be closed or written.
func (n *Node) Close() error {
	was, first := n.life.beginClose(nil)
	if first && was != running {
		n.life.endClose(n.tearDown(false))
	}
	<-n.life.done
	return n.life.closeErr
}

// Wait blocks until the node has closed, and returns the fatal error that made it close itself, or nil after Close.
func (n *Node) Wait() error {
	<-n.life.done
	return n.life.fatal
}

// tearDown closes what the node owns. Usage is due when the node was running: before the dataplane is closed, as that takes
// time in which the process may be killed, and after, when nothing passes any more.
func (n *Node) tearDown(usage bool) error {
	n.slot <- struct{}{} // kept: no change follows
	var errs []error
	write := func(what string, do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if usage {
		write("write usage", n.checkpoint)
	}
	if err := n.cfg.Dataplane.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close dataplane: %w", err))
	}
	if usage {
		write("write what was used last", n.lastCheckpoint)
		if n.usageLog != nil {
			n.logAll(time.Now())
		}
	}
	if n.usageLog != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := n.usageLog.close(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if err := n.cfg.Store.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close store: %w", err))
	}
	n.events.publish(Event{Kind: NodeClosed, Err: n.life.fatal})
	n.events.close()
	if err := errors.Join(errs...); err != nil {
		n.log.Error("node closed", "error", err)
		return &OpError{Op: "close", Err: err}
	}
	n.log.Info("node closed")
	return nil
}
