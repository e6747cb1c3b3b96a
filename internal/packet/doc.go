// Package packet reads the headers of IPv4 and IPv6 packets as they cross a tunnel.
//
// Every packet that a peer sends is hostile until shown otherwise, so [Info.Parse] checks each length against the bytes
// that are really there before it reads them, and refuses what RFC 791, RFC 8200 and the transport RFCs do not allow.
// It allocates nothing and keeps no reference to the packet. It needs no privilege and starts nothing.
//
//	var p packet.Info
//	if err := p.Parse(b); err != nil {
//		drop(err)
//	}
//	fmt.Println(p.Src, p.Dst, p.Proto, p.DstPort)
package packet
