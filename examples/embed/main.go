// Command embed is the smallest program with a VPN exit node in it: no privilege, no configuration file, one peer. It
// prints what the peer's WireGuard app needs, and runs until it is interrupted.
//
//	go run ./examples/embed
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dataplane, err := userspace.New(userspace.Config{})
	if err != nil {
		return err
	}
	node, err := wgnode.New(wgnode.Config{
		Dataplane: dataplane,
		Endpoint:  "127.0.0.1", // where clients reach this host from outside; the port is added
	})
	if err != nil {
		return err
	}
	defer node.Close()
	if err := node.Start(ctx); err != nil {
		return err
	}
	peer, err := node.AddPeer(ctx, wgnode.PeerSpec{
		Name:       "phone",
		SpeedLimit: shaping.Limit{Download: 20_000_000, Upload: 5_000_000}, // bit/s
		DataCap:    quota.Cap{Bytes: 10 * quota.GiB, Period: quota.Period{Kind: quota.Monthly}},
	})
	if err != nil {
		return err
	}
	config, err := node.ClientConfig(peer.PublicKey, peer.PrivateKey)
	if err != nil {
		return err
	}
	fmt.Fprint(out, config)
	<-ctx.Done()
	return node.Close()
}
