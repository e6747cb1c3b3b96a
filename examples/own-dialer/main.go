// Command own-dialer sends what peers open through a dialer of its own. This one maps an address of the documentation
// range to a web server inside the process; yours may be a proxy, a chosen source address, or a test's fake internet.
//
//	go run ./examples/own-dialer
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/waylume/waylume/examples/internal/client"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked %s for %s", r.Host, r.URL.Path)
	}))
	defer server.Close()

	// Every flow of every peer comes by here, after the policy has allowed it.
	dial := func(ctx context.Context, flow userspace.Flow) (net.Conn, error) {
		fmt.Fprintf(out, "%s %s -> %s\n", flow.Network, flow.Source.Addr(), flow.Destination)
		if flow.Network != "tcp" {
			return nil, errors.ErrUnsupported // dropped: nothing goes past this function
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	dataplane, err := userspace.New(userspace.Config{Dial: dial})
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
	peer, err := node.AddPeer(ctx, wgnode.PeerSpec{})
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

	browser := http.Client{Transport: &http.Transport{DialContext: device.DialContext, DisableKeepAlives: true}}
	response, err := browser.Get("http://192.0.2.80/hello")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Fprintf(out, "%s: %s\n", response.Status, body)
	return err
}
