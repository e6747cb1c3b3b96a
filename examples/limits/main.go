// Command limits shows an account whose peers share a speed limit and a data cap, and what the node tells of it: a peer
// downloads until the cap cuts it off, and goes on when the account is topped up.
//
//	go run ./examples/limits
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/waylume/waylume/examples/internal/client"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dataplane, err := userspace.New(userspace.Config{Dial: dialEndless})
	if err != nil {
		return err
	}
	node, err := wgnode.New(wgnode.Config{Dataplane: dataplane, Endpoint: "127.0.0.1"})
	if err != nil {
		return err
	}
	defer node.Close()
	if err := node.Start(ctx); err != nil {
		return err
	}
	events := node.Subscribe()
	_, err = node.PutAccount(ctx, wgnode.AccountSpec{
		ID:         "family",
		SpeedLimit: shaping.Limit{Download: 16_000_000, Upload: 4_000_000},
		DataCap:    quota.Cap{Bytes: 2 * quota.MiB},
	})
	if err != nil {
		return err
	}
	peer, err := node.AddPeer(ctx, wgnode.PeerSpec{Account: "family"})
	if err != nil {
		return err
	}
	config, err := node.ClientConfig(peer.PublicKey, peer.PrivateKey)
	if err != nil {
		return err
	}
	device, err := client.Connect(config)
	if err != nil {
		return err
	}
	defer device.Close()
	conn, err := device.DialContext(ctx, "tcp", "192.0.2.80:80")
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with conn

	start := time.Now()
	for topUps := 0; ; {
		event, err := events.Next(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%5.1f s  %s\n", time.Since(start).Seconds(), event)
		if event.Kind != wgnode.CapReached {
			continue
		}
		if topUps++; topUps > 1 {
			break
		}
		if err := node.TopUp(ctx, wgnode.OfAccount("family"), quota.MiB); err != nil {
			return err
		}
	}
	usage, err := node.Usage(ctx, wgnode.OfAccount("family"))
	fmt.Fprintf(out, "used %d of %d bytes\n", usage.Used, usage.Limit)
	return err
}

// dialEndless stands for a server on the internet that sends for ever.
func dialEndless(context.Context, userspace.Flow) (net.Conn, error) {
	peer, server := net.Pipe()
	go func() {
		defer server.Close()
		chunk := make([]byte, 16<<10)
		for {
			if _, err := server.Write(chunk); err != nil {
				return
			}
		}
	}()
	return peer, nil
}
