// Command isolation shows what a peer can reach: the internet by default, and of the other peers those that a rule names.
// The rule is taken back while it is in use.
//
//	go run ./examples/isolation
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/waylume/waylume/examples/internal/client"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// adminsReachCameras lets the peers labelled as admins open one port of those labelled as cameras. Replies need no rule.
var adminsReachCameras = isolation.Policy{Allow: []isolation.Rule{{
	Name:     "admins reach cameras",
	From:     isolation.Match{Labels: map[string]string{"role": "admin"}},
	To:       isolation.Match{Labels: map[string]string{"role": "camera"}},
	Protocol: isolation.TCP,
	Ports:    []isolation.PortRange{{First: 554, Last: 554}},
}}}

func run(ctx context.Context, out io.Writer) error {
	dataplane, err := userspace.New(userspace.Config{})
	if err != nil {
		return err
	}
	node, err := wgnode.New(wgnode.Config{Dataplane: dataplane, Endpoint: "127.0.0.1", Policy: adminsReachCameras})
	if err != nil {
		return err
	}
	defer node.Close()
	if err := node.Start(ctx); err != nil {
		return err
	}
	admin, _, err := connect(ctx, node, "admin")
	if err != nil {
		return err
	}
	defer admin.Close()
	camera, addr, err := connect(ctx, node, "camera")
	if err != nil {
		return err
	}
	defer camera.Close()
	guest, _, err := connect(ctx, node, "guest")
	if err != nil {
		return err
	}
	defer guest.Close()
	stream, err := camera.ListenTCPAddrPort(netip.AddrPortFrom(addr, 554))
	if err != nil {
		return err
	}
	defer stream.Close()

	to := netip.AddrPortFrom(addr, 554).String()
	fmt.Fprintln(out, "admin -> camera:", try(ctx, admin, to))
	fmt.Fprintln(out, "guest -> camera:", try(ctx, guest, to))
	fmt.Fprintln(out, "admin -> host's loopback:", try(ctx, admin, "127.0.0.1:22"))
	if err := node.SetPolicy(ctx, isolation.Policy{}); err != nil {
		return err
	}
	fmt.Fprintln(out, "admin -> camera, rule taken back:", try(ctx, admin, to))
	return nil
}

// connect adds a peer with a role and connects its device.
func connect(ctx context.Context, node *wgnode.Node, role string) (*client.Client, netip.Addr, error) {
	peer, err := node.AddPeer(ctx, wgnode.PeerSpec{Name: role, Labels: map[string]string{"role": role}})
	if err != nil {
		return nil, netip.Addr{}, err
	}
	config, err := node.ClientConfig(peer.PublicKey, peer.PrivateKey)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	config.Keepalive = time.Second // a camera is spoken to first, so it must have said where it is
	device, err := client.Connect(config)
	return device, peer.Addrs[0], err
}

// try says whether a connection comes about within two seconds.
func try(ctx context.Context, device *client.Client, to string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var conn net.Conn
	conn, err := device.DialContext(ctx, "tcp", to)
	if err != nil {
		return "closed"
	}
	conn.Close()
	return "open"
}
