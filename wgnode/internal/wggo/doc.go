// Package wggo runs wireguard-go, for the dataplanes that encrypt in this process: typed values in place of the text of its
// configuration protocol.
//
//	d, err := wggo.New(tunnel, wggo.Config{PrivateKey: key, ListenPort: 51820})
//	...
//	err = d.Set(ctx, nil, peers)
//	port, err := d.Up()
//	...
//	d.Close()
//
// New starts goroutines, which Close joins; Up opens the UDP socket. It needs no privilege but for a firewall mark.
package wggo
