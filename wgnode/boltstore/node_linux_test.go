package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// fault is what is wrong with a disk for a while.
type fault struct {
	begin, end func() error
	// means is what the errors of the system are that it makes, and advice what the node's errors then say.
	means  error
	advice string
}

// busyNode is a node with its state in a file, callers that add and remove peers, and a peer that sends.
type busyNode struct {
	*wgnode.Node
	dataplane *wgnodetest.Dataplane
	sender    wgtypes.Key
	packet    []byte
	sent      atomic.Uint64 // bytes

	mu    sync.Mutex
	peers map[wgtypes.Key]bool // guarded by mu: that were acknowledged, and not removed
}

func startNode(path string) (*wgnode.Node, *wgnodetest.Dataplane, error) {
	store, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return nil, nil, err
	}
	d := wgnodetest.NewDataplane()
	n, err := wgnode.New(wgnode.Config{Store: store, Dataplane: d, Pool: ipam.Config{Quarantine: ipam.NoQuarantine}})
	if err == nil {
		err = n.Start(context.Background())
	}
	return n, d, err
}

// surviveFault has a busy node live through a fault: what it acknowledges is so, what it refuses is not, then and after a restart, and
// no byte of usage is missing.
func surviveFault(path string, f fault) (err error) {
	n := &busyNode{peers: make(map[wgtypes.Key]bool)}
	if n.Node, n.dataplane, err = startNode(path); err != nil {
		return err
	}
	sender, err := n.AddPeer(context.Background(), wgnode.PeerSpec{})
	if err != nil {
		return err
	}
	n.sender, n.peers[sender.PublicKey] = sender.PublicKey, true
	n.packet = wgnodetest.UDPPacket(netip.AddrPortFrom(sender.Addrs[0], 5000), netip.MustParseAddrPort("192.0.2.1:53"), []byte("hello"))

	const enough = 10 // of each caller
	if err := n.callers(func(made, _ int) bool { return made == enough }, nil); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if err := f.begin(); err != nil {
		return err
	}
	refused := func(err error) bool { return errors.Is(err, f.means) && strings.Contains(err.Error(), f.advice) }
	if err := n.callers(func(_, failed int) bool { return failed == enough }, refused); err != nil {
		return fmt.Errorf("during: %w", err)
	}
	if err := n.holds(n.Node); err != nil {
		return fmt.Errorf("during: %w", err)
	}
	if err := f.end(); err != nil {
		return err
	}
	if err := n.callers(func(made, _ int) bool { return made == enough }, nil); err != nil {
		return fmt.Errorf("after: %w", err)
	}
	if err := errors.Join(n.holds(n.Node), n.Close()); err != nil {
		return fmt.Errorf("after: %w", err)
	}
	again, _, err := startNode(path)
	if err != nil {
		return err
	}
	return errors.Join(n.holds(again), again.Close())
}

// callers add peers, and remove every third, each until it has had enough of successes or failures. What fails must be refused.
func (n *busyNode) callers(enough func(made, failed int) bool, refused func(error) bool) error {
	const most = 2000 // calls of one caller
	errs := make(chan error)
	const callers = 8
	for range callers {
		go func() {
			errs <- func() error {
				made, failed := 0, 0
				for calls := 0; !enough(made, failed); calls++ {
					if calls == most {
						return fmt.Errorf("after %d calls %d were made and %d failed", calls, made, failed)
					}
					n.dataplane.Peer(n.sender).Send(n.packet)
					n.sent.Add(uint64(len(n.packet)))
					switch err := n.call(calls%3 == 2); {
					case err == nil:
						made++
					case refused != nil && refused(err):
						failed++
					default:
						return err
					}
				}
				return nil
			}()
		}()
	}
	var all []error
	for range callers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// call adds a peer, and then removes it if it is to.
func (n *busyNode) call(remove bool) error {
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return err
	}
	public := key.PublicKey()
	if _, err := n.AddPeer(context.Background(), wgnode.PeerSpec{PublicKey: public}); err != nil {
		return err
	}
	n.mu.Lock()
	n.peers[public] = true
	n.mu.Unlock()
	if !remove {
		return nil
	}
	if err := n.RemovePeer(context.Background(), public); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.peers, public)
	return nil
}

// holds checks that a node has just the peers that it should, and has counted what was sent.
func (n *busyNode) holds(node *wgnode.Node) error {
	got := make(map[wgtypes.Key]bool)
	for p := range node.Peers(wgnode.ListOptions{}) {
		got[p.PublicKey] = true
	}
	if !maps.Equal(got, n.peers) {
		return fmt.Errorf("it has %d peers, and %d were acknowledged, or they are others", len(got), len(n.peers))
	}
	usage, err := node.Usage(context.Background(), wgnode.OfPeer(n.sender))
	if err == nil && usage.Counters.Upload != n.sent.Load() {
		err = fmt.Errorf("%d bytes were sent, and %d counted", n.sent.Load(), usage.Counters.Upload)
	}
	return err
}

// nodeOnFullDisk has another file take all the room there is.
func nodeOnFullDisk(args []string) error {
	dir := args[0]
	if err := smallDisk(dir, 2<<20); err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	return surviveFault(filepath.Join(dir, "state.db"), fault{
		begin: func() error {
			if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
				return fmt.Errorf("fill the disk: %w", err)
			}
			return nil
		},
		end:   func() error { return os.Remove(ballast) },
		means: unix.ENOSPC, advice: "make room on its disk; nothing that was acknowledged is lost",
	})
}

// nodeOnBadDisk has calls of the system fail that concern the disk.
func nodeOnBadDisk(f fault, errno unix.Errno, path string, numbers ...uint32) error {
	var fails atomic.Bool
	f.begin = func() error { fails.Store(true); return nil }
	f.end = func() error { fails.Store(false); return nil }
	f.means = errno
	if err := supervise(func(c call) unix.Errno {
		if fails.Load() && slices.Contains(numbers, uint32(c.number)) {
			return errno
		}
		return 0
	}, numbers...); err != nil {
		return err
	}
	return surviveFault(path, f)
}

func nodeOnReadOnlyDisk(args []string) error {
	return nodeOnBadDisk(fault{advice: "on a disk that is not read-only"}, unix.EROFS, args[0], unix.SYS_PWRITE64)
}

func nodeOnFailingDisk(args []string) error {
	return nodeOnBadDisk(fault{advice: "save a backup to another disk"}, unix.EIO, args[0], unix.SYS_FSYNC, unix.SYS_FDATASYNC)
}

// TestNodeOnBadDisk has a whole node live through a disk that is full, that has become read-only, and that fails to sync.
func TestNodeOnBadDisk(t *testing.T) {
	t.Parallel()
	t.Run("full", func(t *testing.T) {
		requireMounts(t)
		out, err := private("node-full", t.TempDir()).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	for _, name := range []string{"node-read-only", "node-failing"} {
		t.Run(name, func(t *testing.T) {
			requireSeccomp(t)
			out, err := child(name, newPath(t)).CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}
