package userspace

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/wgnode"
)

// deafBind is a socket that sends, and at which nothing arrives, as behind a firewall.
type deafBind struct{ conn.Bind }

func (b deafBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receive, actual, err := b.Bind.Open(port)
	for i, f := range receive {
		receive[i] = func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
			n, err := f(packets, sizes, eps)
			clear(sizes[:n])
			return n, err
		}
	}
	return receive, actual, err
}

// TestUnansweredHandshakes has a real client ask for a session over and over, as the answers do not reach it, and get one when
// they do.
func TestUnansweredHandshakes(t *testing.T) {
	t.Parallel()
	dp, err := New(Config{})
	require.NoError(t, err)
	node, err := wgnode.New(wgnode.Config{Dataplane: dp, Endpoint: "127.0.0.1"})
	require.NoError(t, err)
	events := node.Subscribe()
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	added, err := node.AddPeer(t.Context(), wgnode.PeerSpec{})
	require.NoError(t, err)
	cfg, err := node.ClientConfig(added.PublicKey, added.PrivateKey)
	require.NoError(t, err)
	connect := func(bind conn.Bind) *device.Device {
		tun, _, err := clienttun.Create(cfg.Addrs, nil, cfg.MTU)
		require.NoError(t, err)
		dev := device.NewDevice(tun, bind, device.NewLogger(device.LogLevelSilent, ""))
		t.Cleanup(dev.Close)
		require.NoError(t, dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\nendpoint=%s\n"+
			"persistent_keepalive_interval=1\nallowed_ip=0.0.0.0/0\n",
			hex.EncodeToString(added.PrivateKey[:]), hex.EncodeToString(cfg.ServerKey[:]), hex.EncodeToString(cfg.PresharedKey[:]), cfg.Endpoint)))
		require.NoError(t, dev.Up())
		return dev
	}
	told := func(kind wgnode.EventKind) wgnode.HealthProblem {
		for e := range events.All(t.Context()) {
			if e.Kind == kind {
				return e.Problem
			}
		}
		require.Fail(t, "the node ended")
		return wgnode.HealthProblem{}
	}

	began := time.Now()
	deaf := connect(deafBind{conn.NewDefaultBind()})
	p := told(wgnode.ProblemBegan)
	require.Equal(t, wgnode.HandshakesUnanswered, p.Kind)
	require.WithinRange(t, p.Since, began, began.Add(30*time.Second))
	q, err := node.PeerQuality(added.PublicKey)
	require.NoError(t, err)
	require.Equal(t, wgnode.ConnectionUnreachable, q.State)
	require.GreaterOrEqual(t, q.Handshakes.Failed, uint32(3))
	require.Equal(t, q.Handshakes.Attempts, q.Handshakes.Failed)
	require.True(t, q.Endpoint.IsValid())
	require.Zero(t, q.LastHandshake)
	deaf.Close()
	connect(conn.NewDefaultBind())
	over := told(wgnode.ProblemOver)
	require.Equal(t, p.Kind, over.Kind)
	q, err = node.PeerQuality(added.PublicKey)
	require.NoError(t, err)
	require.Equal(t, wgnode.ConnectionIdle, q.State)
	require.EqualValues(t, 1, q.EndpointChanges, "another socket")
}
