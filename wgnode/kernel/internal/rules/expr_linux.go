package rules

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// reg is the register that expressions hand values on in.
const reg = unix.NFT_REG_1

// family is what differs between IPv4 and IPv6 in rules.
type family struct {
	suffix   string // of the names of sets and chains
	key      nft.KeyType
	protocol byte // unix.NFPROTO_*
	ether    uint16
	icmp     uint8
	source   uint32 // offset of the source address in the header
	target   uint32 // offset of the destination address
	size     uint32
	ctSource expr.CtKey
	ctTarget expr.CtKey
}

func families() []family {
	return []family{
		{
			suffix: "4", key: nft.KeyIPv4, protocol: unix.NFPROTO_IPV4, ether: unix.ETH_P_IP, icmp: unix.IPPROTO_ICMP,
			source: 12, target: 16, size: 4, ctSource: expr.CtKeySRCIP, ctTarget: expr.CtKeyDSTIP,
		},
		{
			suffix: "6", key: nft.KeyIPv6, protocol: unix.NFPROTO_IPV6, ether: unix.ETH_P_IPV6, icmp: unix.IPPROTO_ICMPV6,
			source: 8, target: 24, size: 16, ctSource: expr.CtKeySRCIP6, ctTarget: expr.CtKeyDSTIP6,
		},
	}
}

func (f family) has(a netip.Addr) bool { return a.Is4() == (f.protocol == unix.NFPROTO_IPV4) }

// all joins pieces of a rule.
func all(pieces ...[]nft.Expr) (out []nft.Expr) {
	for _, p := range pieces {
		out = append(out, p...)
	}
	return out
}

func one(e expr.Any) nft.Expr { return nft.E{Any: e} }

func is(data []byte) nft.Expr { return one(&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}) }

func isNot(data []byte) nft.Expr { return one(&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data}) }

func big16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func meta(key expr.MetaKey) nft.Expr { return one(&expr.Meta{Key: key, Register: reg}) }

// in and out match the interface that a packet came or goes by; notIn and notOut the opposite.
func in(name string) []nft.Expr    { return []nft.Expr{meta(expr.MetaKeyIIFNAME), is(ifname(name))} }
func out(name string) []nft.Expr   { return []nft.Expr{meta(expr.MetaKeyOIFNAME), is(ifname(name))} }
func notIn(name string) []nft.Expr { return []nft.Expr{meta(expr.MetaKeyIIFNAME), isNot(ifname(name))} }
func notOut(name string) []nft.Expr {
	return []nft.Expr{meta(expr.MetaKeyOIFNAME), isNot(ifname(name))}
}

func (f family) matches() []nft.Expr {
	return []nft.Expr{meta(expr.MetaKeyNFPROTO), is([]byte{f.protocol})}
}

// of a packet's own header.
func (f family) load(offset uint32) nft.Expr {
	return one(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size})
}

// original loads a part of the tuple that the flow's first packet had.
func original(key expr.CtKey) nft.Expr {
	return one(&expr.Ct{Register: reg, Key: key, Direction: expr.CtDirOriginal})
}

func inSet(name string) nft.Expr {
	return one(&expr.Lookup{SourceRegister: reg, SetName: name})
}

func notInSet(name string) nft.Expr {
	return one(&expr.Lookup{SourceRegister: reg, SetName: name, Invert: true})
}

// mask matches bits of 32.
func mask(bits uint32) []nft.Expr {
	zero := make([]byte, 4)
	return []nft.Expr{
		one(&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native32(bits), Xor: zero}), isNot(zero),
	}
}

// unknown matches a packet of no flow that conntrack knows, or of one that it was told not to track.
func unknown() []nft.Expr {
	const bits = expr.CtStateBitINVALID | expr.CtStateBitUNTRACKED
	return append([]nft.Expr{one(&expr.Ct{Register: reg, Key: expr.CtKeySTATE})}, mask(bits)...)
}

func verdict(kind expr.VerdictKind, chain string) []nft.Expr {
	return []nft.Expr{one(&expr.Verdict{Kind: kind, Chain: chain})}
}

func jump(chain string) []nft.Expr { return verdict(expr.VerdictJump, chain) }
func goTo(chain string) []nft.Expr { return verdict(expr.VerdictGoto, chain) }
func giveBack() []nft.Expr         { return verdict(expr.VerdictReturn, "") }
func accept() []nft.Expr           { return verdict(expr.VerdictAccept, "") }
func drop(counter string) []nft.Expr {
	return append([]nft.Expr{nft.Counting{Counter: counter}}, verdict(expr.VerdictDrop, "")...)
}

// protocol matches the protocol of the flow; any for 0.
func (f family) flowProtocol(number uint8) []nft.Expr {
	return []nft.Expr{original(expr.CtKeyPROTOCOL), is([]byte{number})}
}

// port matches the flow's destination port.
func flowPort(first, last uint16) []nft.Expr {
	load := original(expr.CtKeyPROTODST)
	if first == last {
		return []nft.Expr{load, is(big16(first))}
	}
	return []nft.Expr{load, one(&expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: big16(first), ToData: big16(last)})}
}
