// Package wgdev drives one WireGuard device of the host: the kernel's module ([Module]), or wireguard-go in this process on a
// TUN of the kernel's ([TUN]). Both come up in the same order:
//
//	dev := wgdev.NewModule(conn)
//	l, adopted, err := dev.Open(ctx, cfg) // the interface is there, down and mute unless it was adopted running
//	// filters and qdiscs go in here
//	port, err := dev.Up(ctx)              // packets move
//	err = dev.Set(ctx, nil, peers)
//	err = dev.Close(false)
//
// Needs CAP_NET_ADMIN. Linux only: elsewhere the package is empty.
package wgdev
