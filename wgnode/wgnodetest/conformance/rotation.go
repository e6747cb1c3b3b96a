package conformance

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// testRotation gives the node other keys: who has the new one connects, and who has the former one does not, not even in a session
// that stood; caps and counters go on over it, to the byte; and the key outlives the node.
func testRotation(t *testing.T, h Harness) {
	w := newWorld(t, h)
	if _, ok := w.dp.(wgnode.KeyChanger); !ok {
		t.Skip("the dataplane is no wgnode.KeyChanger: the node's key changes with a start only")
	}
	w.rotateQuietly()
	w.rotateUnderLoad()
	w.rotateWithOverlap()
}

// rotate gives the node another key, and looks whether everybody is told of it.
func (w *world) rotate() wgnode.RotatedKey {
	w.t.Helper()
	rotated, err := w.node.RotateKey(w.ctx, wgnode.KeyRotation{})
	require.NoError(w.t, err)
	require.NotEqual(w.t, rotated.FormerKey, rotated.PublicKey)
	require.Equal(w.t, rotated.PublicKey, w.publicKey())
	return rotated
}

func (w *world) publicKey() wgtypes.Key {
	w.t.Helper()
	status, err := w.node.Status(w.ctx)
	require.NoError(w.t, err)
	return status.PublicKey
}

func (w *world) rotateQuietly() {
	w.t.Helper()
	const limit = 100_000
	c := w.join(wgnode.PeerSpec{SpeedLimit: both(mbit(20)), DataCap: quota.Cap{Bytes: limit, Counted: quota.CountDownload}})
	w.puller(c, internet4, unitPayload).until(func() bool { return w.counters(c).Download >= limit/3 })
	w.eventually(func() bool { return w.calm(c) == w.counters(c).Download }, "not what was delivered is counted")
	received, before := w.calm(c), w.counters(c)

	rotated := w.rotate()
	require.Equal(w.t, rotated.FormerKey, c.cfg.ServerKey)
	w.cutOff(c)
	require.Equal(w.t, received, c.quiet(), "a session of the former key receives data")
	require.Equal(w.t, before, w.counters(c), "a session of the former key moves data")
	c.disconnect()
	late := connect(w, c.cfg)
	w.cutOff(late)
	require.Equal(w.t, before, w.counters(late), "the former key moves data")
	require.Zero(w.t, late.quiet())

	c = w.reconnect(late, late.key(), late.cfg.PrivateKey)
	require.Equal(w.t, rotated.PublicKey, c.cfg.ServerKey)
	require.Equal(w.t, late.cfg.Addrs, c.cfg.Addrs)
	repairs, err := w.node.Sync(w.ctx)
	require.NoError(w.t, err)
	require.Empty(w.t, repairs)
	w.puller(c, internet4, unitPayload).until(func() bool { return w.peerStats(c.key()).Depleted })
	require.Equal(w.t, uint64(limit/unit*unit), received+w.calm(c), "bytes delivered in all")
	require.Equal(w.t, uint64(limit/unit*unit), w.counters(c).Download)
}

// rotateUnderLoad rotates while a peer sends, and another comes and goes. What arrived of the one's is what was counted. The node
// then starts again with the key that it was given last.
func (w *world) rotateUnderLoad() {
	w.t.Helper()
	c := w.join(wgnode.PeerSpec{})
	s := w.serveUDP(w.at(internet4), silent)
	for range 3 {
		stop := w.sendAlways(c, s)
		seen := s.arrived.Load()
		w.eventually(func() bool { return s.arrived.Load() > seen+50 }, "the datagrams do not arrive")
		other, err := w.node.AddPeer(w.ctx, wgnode.PeerSpec{})
		require.NoError(w.t, err)
		w.rotate()
		require.NoError(w.t, w.node.RemovePeer(w.ctx, other.PublicKey))
		stop()
		c = w.reconnect(c, c.key(), c.cfg.PrivateKey)
	}
	stop := w.sendAlways(c, s)
	seen := s.arrived.Load()
	w.eventually(func() bool { return s.arrived.Load() > seen }, "the last key is of no use")
	stop()
	w.eventually(func() bool {
		counted := w.counters(c).Upload
		return counted == s.arrived.Load()*unit && counted == w.counters(c).Upload
	}, "not what arrived is counted")

	require.NoError(w.t, w.node.Close())
	w.startNode()
	require.Equal(w.t, c.cfg.ServerKey, w.publicKey(), "the key that the node was given last")
	w.exits(w.reconnect(c, c.key(), c.cfg.PrivateKey))
}

// rotateWithOverlap has a node serve both its keys, over a restart, until it is told to end the former one. A dataplane that cannot
// leaves the node as it was.
func (w *world) rotateWithOverlap() {
	w.t.Helper()
	known := w.join(wgnode.PeerSpec{})
	rotated, err := w.node.RotateKey(w.ctx, wgnode.KeyRotation{Overlap: time.Hour})
	if errors.Is(err, wgnode.ErrNotSupported) {
		require.Equal(w.t, known.cfg.ServerKey, w.publicKey())
		w.exits(known)
		return
	}
	require.NoError(w.t, err)
	require.Equal(w.t, known.cfg.ServerKey, rotated.FormerKey)
	w.exits(known)
	fresh := w.join(wgnode.PeerSpec{})
	require.Equal(w.t, rotated.PublicKey, fresh.cfg.ServerKey)

	require.NoError(w.t, w.node.Close())
	w.startNode()
	fresh = w.reconnect(fresh, fresh.key(), fresh.cfg.PrivateKey)
	known.disconnect()
	known.cfg.Endpoint = fresh.cfg.Endpoint // the node chose another port
	known = connect(w, known.cfg)
	w.exits(known)
	w.exits(fresh)
	status, err := w.node.Status(w.ctx)
	require.NoError(w.t, err)
	require.Equal(w.t, rotated.PublicKey, status.PublicKey)
	require.Equal(w.t, rotated.FormerKey, status.FormerKey)
	require.True(w.t, rotated.OverlapEnds.Equal(status.OverlapEnds))

	require.NoError(w.t, w.node.EndKeyOverlap(w.ctx))
	w.cutOff(known)
	w.exits(fresh)
	w.exits(w.reconnect(known, known.key(), known.cfg.PrivateKey))
	status, err = w.node.Status(w.ctx)
	require.NoError(w.t, err)
	require.Zero(w.t, status.FormerKey)
}

// sendAlways has a client send datagrams of one unit each, until stop: so few before some arrive that nothing overflows behind the
// node, where they are counted already, and each of those from another port, lest a kernel makes one packet of them.
func (w *world) sendAlways(c *client, to *server) (stop func()) {
	w.t.Helper()
	const together, patience = 16, 250 * time.Millisecond
	conns := make([]net.Conn, 2*together)
	for i := range conns {
		var err error
		conns[i], err = c.stack.Dial(w.ctx, "udp", to.addr)
		require.NoError(w.t, err)
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for sent := 0; ; {
			before, since := to.arrived.Load(), time.Now()
			for range together {
				_, _ = conns[sent%len(conns)].Write(make([]byte, unitPayload)) // lost like any datagram
				sent++
			}
			for first := true; first || to.arrived.Load() < before+together && time.Since(since) < patience; first = false {
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}
	})
	return sync.OnceFunc(func() {
		close(ended)
		wg.Wait()
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
}
