package wgnodetest_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// A data cap as an embedder's test sees it: packets of a peer come out at the internet until the cap is used up.
func Example() {
	ctx := context.Background()
	dp := wgnodetest.NewDataplane()
	node, err := wgnode.New(wgnode.Config{Dataplane: dp})
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Start(ctx); err != nil {
		log.Fatal(err)
	}
	peer, err := node.AddPeer(ctx, wgnode.PeerSpec{DataCap: quota.Cap{Bytes: 100}})
	if err != nil {
		log.Fatal(err)
	}

	from, to := netip.AddrPortFrom(peer.Addrs[0], 5000), netip.MustParseAddrPort("192.0.2.1:53")
	for range 5 {
		dp.Peer(peer.PublicKey).Send(wgnodetest.UDPPacket(from, to, []byte("hello"))) // 33 bytes with headers
	}
	fmt.Println("packets that came out:", dp.Internet().Pending())
	usage, err := node.Usage(ctx, wgnode.OfPeer(peer.PublicKey))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("used:", usage.Used, "of", usage.Limit)
	if err := node.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// packets that came out: 3
	// used: 99B of 100B
}
