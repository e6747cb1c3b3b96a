package isolation

import "strconv"

// Reason says why a packet passed or did not. Its String is a short constant, fit for the label of a counter, and its
// values run from 0 to [NumReasons]-1, fit for the index of one.
type Reason uint8

const (
	// ReasonInternet passes: nothing closes the destination.
	ReasonInternet Reason = iota
	// ReasonAllowed passes: an Allow rule matches the flow.
	ReasonAllowed
	// ReasonReply passes: the packet answers a flow that a peer began and still may.
	ReasonReply
	// ReasonRelated passes: the packet is an ICMP error about a packet of a flow that passes.
	ReasonRelated

	// ReasonMalformed does not pass: [Filter.CheckPacket] cannot read the packet.
	ReasonMalformed
	// ReasonUnknown does not pass: sender and receiver are both unknown to the filter, or one was removed.
	ReasonUnknown
	// ReasonSpoofed does not pass: the source address is not the sender's, or comes from outside and is a peer's.
	ReasonSpoofed
	// ReasonMisrouted does not pass: the destination address is not the receiver's, or no longer.
	ReasonMisrouted
	// ReasonEmbedded does not pass, whatever the rules say: the destination hides another address in a form that has no
	// honest use (6to4, Teredo and the like), or is none at all (0.0.0.0/8).
	ReasonEmbedded
	// ReasonUnsolicited does not pass: the packet comes from outside and begins a flow.
	ReasonUnsolicited
	// ReasonFragment does not pass: a later fragment whose first one has not, where the ports of the first would matter.
	ReasonFragment
	// ReasonDenied does not pass: a Deny rule matches the flow.
	ReasonDenied

	// ReasonPeer and those below are the default closures, which an Allow rule can open: the destination is another peer.
	ReasonPeer
	// ReasonPool means an address of the pool that no peer holds.
	ReasonPool
	// ReasonHost means one of the host's addresses, or loopback.
	ReasonHost
	// ReasonMetadata means a cloud provider's metadata or host service.
	ReasonMetadata
	// ReasonPrivate means a private or site-local range (RFC 1918, 3879, 4193).
	ReasonPrivate
	// ReasonShared means the range shared by carrier-grade NATs (RFC 6598).
	ReasonShared
	// ReasonLinkLocal means a link-local range (RFC 3927, 4291).
	ReasonLinkLocal
	// ReasonMulticast means multicast or the limited broadcast address.
	ReasonMulticast
	// ReasonReserved means a range that is reserved or has a special purpose.
	ReasonReserved
	// ReasonSMTP means TCP port 25.
	ReasonSMTP

	// NumReasons is the number of reasons.
	NumReasons = iota
)

// Opens reports whether an Allow rule can let a packet pass that was refused for r.
func (r Reason) Opens() bool { return r >= ReasonPeer && r <= ReasonSMTP }

// String returns the reason as one lower-case word or two joined by a hyphen.
func (r Reason) String() string {
	switch r {
	case ReasonInternet:
		return "internet"
	case ReasonAllowed:
		return "allowed"
	case ReasonReply:
		return "reply"
	case ReasonRelated:
		return "related"
	case ReasonMalformed:
		return "malformed"
	case ReasonUnknown:
		return "unknown"
	case ReasonSpoofed:
		return "spoofed"
	case ReasonMisrouted:
		return "misrouted"
	case ReasonEmbedded:
		return "embedded"
	case ReasonUnsolicited:
		return "unsolicited"
	case ReasonFragment:
		return "fragment"
	case ReasonDenied:
		return "denied"
	}
	return r.closureString()
}

func (r Reason) closureString() string {
	switch r {
	case ReasonPeer:
		return "peer"
	case ReasonPool:
		return "pool"
	case ReasonHost:
		return "host"
	case ReasonMetadata:
		return "metadata"
	case ReasonPrivate:
		return "private"
	case ReasonShared:
		return "shared"
	case ReasonLinkLocal:
		return "link-local"
	case ReasonMulticast:
		return "multicast"
	case ReasonReserved:
		return "reserved"
	case ReasonSMTP:
		return "smtp"
	}
	return "reason-" + strconv.Itoa(int(r))
}

// Verdict is the filter's answer for one packet.
type Verdict struct {
	// Allow reports that the packet passes.
	Allow bool
	// Reason says why.
	Reason Reason
}

// String returns "pass" or "drop" and the reason.
func (v Verdict) String() string {
	if v.Allow {
		return "pass: " + v.Reason.String()
	}
	return "drop: " + v.Reason.String()
}
