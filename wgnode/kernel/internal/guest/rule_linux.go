package guest

import (
	"encoding/binary"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// signature begins the comment of every rule of ours, and fingerprint is how its fingerprint begins.
const (
	signature   = "waylume "
	fingerprint = " #"
)

// comment is the comment of the rules of an interface; package nft adds the fingerprint.
func comment(iface string) string { return signature + iface }

// ours returns a rule's comment if it is one of ours.
func ours(comment string) string {
	if strings.HasPrefix(comment, signature) && strings.Contains(comment, fingerprint) {
		return comment
	}
	return ""
}

// The rules are written as nft(8) writes them, so that it and iptables-nft can list the chains that hold them.

// comes and goes let packets pass that the interface forwards; arrives lets WireGuard's own come in.
func comes(iface string) nft.Rule { return passing(iface, expr.MetaKeyIIFNAME) }
func goes(iface string) nft.Rule  { return passing(iface, expr.MetaKeyOIFNAME) }

func passing(iface string, key expr.MetaKey) nft.Rule {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, iface)
	return accepting(iface, &expr.Meta{Key: key, Register: unix.NFT_REG_1}, equals(name))
}

func arrives(iface string, port uint16) nft.Rule {
	const portOffset, portSize = 2, 2 // of the destination, RFC 768
	return accepting(iface,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1}, equals([]byte{unix.IPPROTO_UDP}),
		&expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: portSize},
		equals(binary.BigEndian.AppendUint16(nil, port)))
}

func equals(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: data}
}

func accepting(iface string, conditions ...expr.Any) nft.Rule {
	r := nft.Rule{Comment: comment(iface)}
	for _, e := range append(conditions, &expr.Verdict{Kind: expr.VerdictAccept}) {
		r.Exprs = append(r.Exprs, nft.E{Any: e})
	}
	return r
}
