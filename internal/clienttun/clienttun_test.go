package clienttun

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/tun"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mtu = 1420

// relay has one device receive what the other sends, until that is closed.
func relay(from, to tun.Device) {
	bufs, sizes := [][]byte{make([]byte, mtu)}, make([]int, 1)
	for {
		if _, err := from.Read(bufs, sizes, 0); err != nil {
			return
		}
		_, _ = to.Write([][]byte{append([]byte(nil), bufs[0][:sizes[0]]...)}, 0)
	}
}

// TestCloseWhileBusy closes a client's device in the midst of a download whose connection was closed just before, so that its stack
// answers what comes yet. That the stock device does not survive it shows only now and then, in a node's clients.
func TestCloseWhileBusy(t *testing.T) {
	server, client := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for round := range 50 {
		far, farNet, err := Create([]netip.Addr{server}, nil, mtu)
		require.NoError(t, err)
		near, nearNet, err := Create([]netip.Addr{client}, nil, mtu)
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { relay(far, near) })
		wg.Go(func() { relay(near, far) })

		l, err := farNet.ListenTCPAddrPort(netip.AddrPortFrom(server, 80))
		require.NoError(t, err)
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					for err == nil {
						_, err = c.Write(make([]byte, 1<<16))
					}
				})
			}
		})
		c, err := nearNet.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(server, 80))
		require.NoError(t, err)
		for range 1 + round%4 {
			_, err = c.Read(make([]byte, 1<<14))
			require.NoError(t, err)
		}
		require.NoError(t, c.Close())
		require.NoError(t, near.Close())
		require.NoError(t, l.Close())
		require.NoError(t, far.Close())
		wg.Wait()
	}
}
