package userspace

import (
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// minClosing is how many connections a peer may have on their way to their end before those that have come to it are looked for.
const minClosing = 16

// closing are endpoints of connections that both ends have shut down, and that still may have something to send: what the peer has
// not acknowledged. They end with the peer, whose addresses another may have next.
type closing struct {
	endpoints []tcpip.Endpoint
	enough    int // so many are looked through before another is added
}

func (c *closing) add(ep tcpip.Endpoint) {
	if len(c.endpoints) >= max(c.enough, minClosing) {
		c.enough = 2 * c.left()
	}
	c.endpoints = append(c.endpoints, ep)
}

// left is how many have not come to their end.
func (c *closing) left() int {
	c.endpoints = slices.DeleteFunc(c.endpoints, ended)
	return len(c.endpoints)
}

// abort resets them.
func (c *closing) abort() {
	for _, ep := range c.endpoints {
		ep.Abort()
	}
	*c = closing{}
}

// ended reports whether an endpoint sends nothing any more that nothing has asked for.
func ended(ep tcpip.Endpoint) bool {
	switch tcp.EndpointState(ep.State()) {
	case tcp.StateClose, tcp.StateError, tcp.StateTimeWait:
		return true
	default:
		return false
	}
}
