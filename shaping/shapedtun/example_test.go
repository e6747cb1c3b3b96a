package shapedtun_test

import (
	"fmt"
	"net/netip"

	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/shaping/shapedtun"
)

// A tunnel device of one's own, here one of channels, gets a limit for a peer at 10.0.0.2.
func Example() {
	inner := tuntest.NewChannelTUN()
	leaves := map[netip.Addr]*shapedtun.Leaf{}
	dev, err := shapedtun.New(shapedtun.Config{
		Device:   inner.TUN(),
		Classify: func(p shapedtun.Info) *shapedtun.Leaf { return leaves[p.Remote()] },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()

	peer := netip.MustParseAddr("10.0.0.2")
	leaves[peer], err = dev.SetLeaf("alice", "", shaping.Limit{Download: 20_000_000, Upload: 5_000_000})
	if err != nil {
		fmt.Println(err)
		return
	}
	dev.Start()

	// A ping from the system to the peer, read as wireguard-go would read it.
	inner.Outbound <- tuntest.Ping(peer, netip.MustParseAddr("192.0.2.1"))
	bufs, sizes := [][]byte{make([]byte, 1500)}, make([]int, 1)
	if _, err := dev.Read(bufs, sizes, 0); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sizes[0], "bytes for", peer, "of", leaves[peer].Download().SentPackets, "packet")
	// Output: 32 bytes for 10.0.0.2 of 1 packet
}
