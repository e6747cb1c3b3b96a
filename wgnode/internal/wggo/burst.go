package wggo

import "golang.zx2c4.com/wireguard/conn"

// MaxBurst is how many bytes of messages the port is given at once. wireguard-go joins messages of one size to datagrams of up to
// 65,507 bytes, for the kernel or the network card to cut again (UDP GSO, udp(7)). With its headers one that is full is longer than
// what a link takes whole: 65,536 bytes (GSO_LEGACY_MAX_SIZE in the kernel's include/linux/netdevice.h). The kernel then cuts it
// early, and what is behind a virtual link, such as a container's, handles every message by itself. So much is left for
// the headers of Ethernet, IPv6, UDP, and of a tunnel of the host's (VXLAN: 50 bytes, RFC 7348).
const MaxBurst = 65400

// Overhead is by how many bytes a message is longer than the packet in it, which is padded to a multiple of Padding if there is
// room in the MTU: the header of transport data and the authentication tag.
const (
	Overhead = 32
	Padding  = 16
)

// send sends messages to an endpoint, in bursts.
func (m *mux) send(bufs [][]byte, ep conn.Endpoint) error {
	for len(bufs) > 0 {
		n := burst(bufs)
		if err := m.sendBurst(bufs[:n], ep); err != nil {
			return err
		}
		bufs = bufs[n:]
	}
	return nil
}

// burst is how many of the messages are sent at once: one at least.
func burst(bufs [][]byte) int {
	for n, size := 0, 0; n < len(bufs); n++ {
		if size += len(bufs[n]); size > MaxBurst && n > 0 {
			return n
		}
	}
	return len(bufs)
}
