package userspace

import (
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// minClosing is how many connections a peer may have on their way to their end before those that have come to it are looked for.
const minClosing = 16

// closing are endpoints of connections that both ends have shut down, and that still may have something to send: what the peer has
// not acknowledged. They hold memory of the peer's for it, and end with the peer, whose addresses another may have next.
type closing struct {
	waiting []closingEndpoint // the oldest first
	enough  int               // so many are looked through before another is added
}

type closingEndpoint struct {
	tcpip.Endpoint
	buffer int // bytes that it may hold
}

// add takes in an endpoint with a buffer of so many bytes, and returns how many bytes those hold no more that have come to their end.
func (c *closing) add(ep tcpip.Endpoint, buffer int) (freed int) {
	if len(c.waiting) >= max(c.enough, minClosing) {
		freed = c.letGo()
		c.enough = 2 * len(c.waiting)
	}
	c.waiting = append(c.waiting, closingEndpoint{ep, buffer})
	return freed
}

// letGo forgets those that have come to their end, and returns how many bytes they hold no more.
func (c *closing) letGo() (freed int) {
	c.waiting = slices.DeleteFunc(c.waiting, func(e closingEndpoint) bool {
		if !ended(e) {
			return false
		}
		freed += e.buffer
		return true
	})
	return freed
}

// free makes so many bytes free, if there are so many: it resets those that have waited longest, if it must.
func (c *closing) free(wanted int) (freed int) {
	freed = c.letGo()
	for freed < wanted && len(c.waiting) > 0 {
		oldest := c.waiting[0]
		c.waiting = slices.Delete(c.waiting, 0, 1)
		oldest.Abort()
		freed += oldest.buffer
	}
	return freed
}

// abort resets them all.
func (c *closing) abort() {
	for _, e := range c.waiting {
		e.Abort()
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
