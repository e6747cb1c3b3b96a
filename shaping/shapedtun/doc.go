// Package shapedtun puts speed limits on a tunnel device: it wraps any golang.zx2c4.com/wireguard/tun.Device in another that
// holds what passes to the limits of package shaping, in both directions. The wrapped device can be the system's, or one of
// user space; no privilege is needed beyond its own.
//
// Packets that are read from the device are on their way into the tunnel, towards a peer: they are download, in the words of
// [shaping.Limit]. Packets that are written to it came out of the tunnel, and are upload. A classifier names the leaf of each.
//
//	leaves := map[netip.Addr]*shapedtun.Leaf{}
//	dev, err := shapedtun.New(shapedtun.Config{
//		Device:   inner,
//		Classify: func(p shapedtun.Info) *shapedtun.Leaf { return leaves[p.Remote()] },
//	})
//	...
//	leaves[addr], err = dev.SetLeaf("alice", "", shaping.Limit{Download: 20_000_000, Upload: 5_000_000})
//	dev.Start()
//	device.NewDevice(dev, bind, logger) // wireguard-go closes dev, and with it inner
//
// A Device is made by [New], starts its goroutines in [Device.Start], and ends them and the wrapped device in [Device.Close].
package shapedtun
