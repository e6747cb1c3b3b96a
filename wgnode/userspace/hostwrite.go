package userspace

import (
	"net"

	"golang.org/x/net/ipv4"
)

// writeBatch is how many datagrams a socket is given with one system call, where there is one for several (sendmmsg(2) of Linux).
const writeBatch = 64

// writeFunc writes datagrams, each by itself: of one that is refused it says so, and goes on with the next.
type writeFunc func(bufs []*[]byte, refused func(error))

// newDatagramWriter returns the writer of a connection. That of a socket of package net writes several at a time.
func newDatagramWriter(host net.Conn, pool *buffers) writeFunc {
	socket, ok := host.(*net.UDPConn)
	if !ok {
		return func(bufs []*[]byte, refused func(error)) {
			for _, buf := range bufs {
				if _, err := host.Write(*buf); err != nil {
					refused(err)
				}
			}
		}
	}
	conn := ipv4.NewPacketConn(socket) // of IPv6 as well: no option of either is touched
	return func(bufs []*[]byte, refused func(error)) {
		messages := pool.getMessages()
		defer pool.putMessages(messages)
		for len(bufs) > 0 {
			n := min(len(bufs), len(messages))
			for i, buf := range bufs[:n] {
				messages[i].Buffers[0] = *buf
			}
			written, err := conn.WriteBatch(messages[:n], 0)
			if err != nil {
				refused(err)
				written = max(written, 0) + 1 // that one, whatever became of it
			}
			bufs = bufs[min(max(written, 1), n):]
		}
	}
}
