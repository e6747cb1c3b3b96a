package crashtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"go.uber.org/goleak"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/userspace"
)

// orderVariable asks the test program to be the process that serves a node: it is an order as JSON.
const orderVariable = "WAYLUME_CRASHTEST_ORDER"

// Dataplanes of an order.
const (
	inUserspace = "userspace"
	inKernel    = "kernel"
	inModule    = "kernel with the module"
)

// child is the process that serves a node: requests come by its input, a line each, and lines go by its output. It ends when
// it is killed, when it was asked to close, or when its input ends.
type child struct {
	mu   sync.Mutex
	out  *json.Encoder // guarded by mu
	node *wgnode.Node
	wg   sync.WaitGroup
	// before are the goroutines that are none of the node's.
	before goleak.Option
}

// serve is the process. It returns the code to exit with.
func serve(asked string) int {
	c := &child{out: json.NewEncoder(os.Stdout), before: goleak.IgnoreCurrent()}
	if err := c.run(asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (c *child) tell(l line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.out.Encode(l); err != nil {
		die() // who listened is gone
	}
}

func (c *child) run(asked string) error {
	var o order
	if err := json.Unmarshal([]byte(asked), &o); err != nil {
		return err
	}
	if err := c.start(o); err != nil {
		return err
	}
	status, err := c.node.Status(context.Background())
	if err != nil {
		return err
	}
	c.tell(line{Ready: &ready{status.PublicKey, status.ListenPort}})
	for lines := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		var r request
		if err := lines.Decode(&r); err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if r.Kind == closing {
			return c.close(r.ID)
		}
		c.wg.Go(func() { c.answer(r) })
	}
}

func (c *child) start(o order) error {
	t, r := &trap{fault: o.Fault}, new(readings)
	dp, err := newDataplane(o)
	if err != nil {
		return err
	}
	store, err := boltstore.Open(o.Store, boltstore.Options{LockTimeout: time.Millisecond})
	if err != nil {
		return err
	}
	log, err := usagelog.Open(o.UsageLog, usagelog.Options{})
	if err != nil {
		return err
	}
	c.node, err = wgnode.New(wgnode.Config{
		ListenPort: o.Port, Pool: ipam.Config{Prefixes: pool(), Quarantine: o.Quarantine},
		Dataplane: &mortalDataplane{dp, t, r}, Store: &mortalStore{Store: store, trap: t, tell: c.tell, readings: r},
		UsageLog:   &mortalLog{log, t, c.tell},
		SyncPeriod: time.Second, CheckpointPeriod: checkpointPeriod,
	})
	if err != nil {
		return err
	}
	return c.node.Start(context.Background())
}

// checkpointPeriod is how often the nodes write usage to their store.
const checkpointPeriod = time.Second

// pool are the prefixes that a node leases addresses from.
func pool() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.99.0.0/16"), netip.MustParsePrefix("fd77:6179:6c75:6d65::/64")}
}

func newDataplane(o order) (wgnode.Dataplane, error) {
	if o.Dataplane != inUserspace {
		return newKernel(o)
	}
	return userspace.New(userspace.Config{
		Dial: func(ctx context.Context, flow userspace.Flow) (net.Conn, error) {
			if flow.Network != "udp" {
				return nil, fmt.Errorf("%s: %w", flow.Network, errors.ErrUnsupported)
			}
			return new(net.Dialer).DialContext(ctx, flow.Network, o.Internet)
		},
		HostAddresses: func() ([]netip.Addr, error) { return nil, nil },
	})
}

// answer makes a call and tells what came of it.
func (c *child) answer(r request) {
	ctx := context.Background()
	if r.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Patience)
		defer cancel()
	}
	a, err := operations[r.Kind].call(ctx, c.node, r.operation)
	a.ID, a.Condition = r.ID, conditionOf(err)
	if err != nil {
		a.Error = err.Error()
	}
	c.tell(line{Answer: &a})
}

// close closes the node, and tells whether anything of it is left. Callers are not waited for: they are to get an error.
func (c *child) close(id int) error {
	err := c.node.Close()
	c.wg.Wait()
	if err == nil {
		err = goleak.Find(c.before)
	}
	a := answer{ID: id, Condition: conditionOf(err)}
	if err != nil {
		a.Error = err.Error()
	}
	c.tell(line{Answer: &a})
	return nil
}

// contentsOf reads everything that a node has. That takes several calls: they are made again if a peer has come to its end
// meanwhile.
func contentsOf(ctx context.Context, n *wgnode.Node) (c *contents, err error) {
	for range 10 {
		if c, err = readContents(ctx, n); err == nil && c.together() || err != nil && !errors.Is(err, wgnode.ErrNotFound) {
			break
		}
	}
	return c, err
}

// together reports whether what was read of accounts and of the pool goes with what was read of peers.
func (c *contents) together() bool {
	members := make(map[string]int)
	for _, p := range c.Peers {
		members[p.Account]++
	}
	for _, a := range c.Accounts {
		if a.Peers != members[a.ID] {
			return false
		}
	}
	for _, f := range c.Status.Pool {
		if f.Leased != uint64(len(c.Peers)) {
			return false
		}
	}
	return true
}

func readContents(ctx context.Context, n *wgnode.Node) (*contents, error) {
	c := &contents{Usage: make(map[string]wgnode.Usage)}
	use := func(s wgnode.Subject) error {
		u, err := n.Usage(ctx, s)
		c.Usage[s.String()] = u
		return err
	}
	for a := range n.Accounts(wgnode.ListOptions{}) {
		c.Accounts = append(c.Accounts, a)
		if err := use(wgnode.OfAccount(a.ID)); err != nil {
			return nil, err
		}
	}
	for p := range n.Peers(wgnode.ListOptions{}) {
		c.Peers = append(c.Peers, p)
		if err := use(wgnode.OfPeer(p.PublicKey)); err != nil {
			return nil, err
		}
	}
	var err error
	c.Status, err = n.Status(ctx)
	return c, err
}
