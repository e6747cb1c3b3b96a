package isolation

import (
	"net/netip"

	"github.com/waylume/waylume/internal/packet"
)

// role is what a packet can be to a flow.
type role uint8

const (
	// alone neither begins a flow nor answers one: ICMP but for echo, ICMP errors among it, and a later fragment.
	alone role = iota
	// opens begins a flow and never answers one, so that a reply cannot become a connection to another service at the
	// same port: TCP SYN, ICMP echo request.
	opens
	// answers never begins a flow: TCP SYN with ACK, TCP RST, ICMP echo reply.
	answers
	// either does both: the rest of TCP, UDP and other protocols. A TCP flow may thus be picked up in its middle, as after
	// a restart of the node.
	either
)

// tuple is what isolation looks at in a packet.
type tuple struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16 // of ICMP echo both the identifier
	protocol         Protocol
	role             role
	flags            uint8 // of TCP
	noPort           bool  // a later fragment of whose first nothing is known
}

// TCP flags (RFC 9293 section 3.1).
const (
	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpACK = 0x10
)

func tupleOf(p *packet.Info) tuple {
	t := tuple{src: p.Src, dst: p.Dst, srcPort: p.SrcPort, dstPort: p.DstPort, protocol: protocolOf(p.Version, p.Proto)}
	switch {
	case p.Fragment:
		t.noPort = true
	case t.protocol == TCP:
		t.flags = p.TCPFlags
		t.role = tcpRole(p.TCPFlags)
	case t.protocol != ICMP:
		t.role = either
	case p.IsEchoRequest():
		t.role, t.srcPort, t.dstPort = opens, p.ICMPID, p.ICMPID
	case p.IsEchoReply():
		t.role, t.srcPort, t.dstPort = answers, p.ICMPID, p.ICMPID
	}
	return t
}

func tcpRole(flags uint8) role {
	switch {
	case flags&tcpRST != 0:
		return answers
	case flags&(tcpSYN|tcpACK) == tcpSYN:
		return opens
	case flags&tcpSYN != 0:
		return answers
	}
	return either
}

func (t *tuple) service() service {
	return service{protocol: t.protocol, port: t.dstPort, noPort: t.noPort}
}

// reversed is the packet that t would answer.
func (t *tuple) reversed() tuple {
	return tuple{src: t.dst, dst: t.src, srcPort: t.dstPort, dstPort: t.srcPort, protocol: t.protocol, noPort: t.noPort}
}

// key is the name of the flow that t belongs to if its sender began it.
func (t *tuple) key() flowKey { return keyOf(t.src, t.dst, t.srcPort, t.dstPort, t.protocol) }

// fragmentKey is shared by all fragments of one packet.
func fragmentKey(t *tuple, id uint32) flowKey {
	return keyOf(t.src, t.dst, uint16(id>>16), uint16(id), t.protocol)
}
