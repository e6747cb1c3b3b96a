package guest

import (
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// verdict is what a rule does to packets that it matches.
type verdict int

const (
	goesOn verdict = iota
	accepts
	drops // or rejects
	returns
	jumps
	leaves // by goto: never comes back here
)

// rule is what matters of a rule of anybody's.
type rule struct {
	handle uint64
	mark   string // of ours, of whichever interface; else empty
	does   verdict
	to     string // the chain that it leads to
	// always: no packet is passed over.
	always bool
	// byInterface: the only condition is the interface.
	byInterface bool
	// anybody: no condition tells packets apart but by protocol, kind or rate, and nothing but a refusal, a count or an entry
	// in a log comes of it.
	anybody bool
}

// read takes a rule apart.
func read(r nft.ActualRule) rule {
	out := rule{handle: r.Handle, mark: ours(r.Comment), always: true, byInterface: true, anybody: true}
	condition := func(byInterface, anybody bool) {
		out.always = false
		out.byInterface = out.byInterface && byInterface
		out.anybody = out.anybody && anybody
	}
	var loaded uint32 // the key of meta that conditions are about
	fromMeta := false
	for _, e := range r.Expressions() {
		switch e.Name {
		case "counter", "log", "last":
		case "limit":
			condition(false, true)
		case "reject":
			out.does = drops
		case "immediate":
			out.immediate(e)
		case "meta":
			if _, set := e.Attrs[unix.NFTA_META_SREG]; set {
				out.anybody = false // something comes of it
			} else {
				loaded, fromMeta = nft.Number(e.Attrs[unix.NFTA_META_KEY]), true
			}
		case "payload":
			fromMeta = false
			if _, set := e.Attrs[unix.NFTA_PAYLOAD_SREG]; set {
				out.anybody = false
			} else if protocolField(e) {
				loaded, fromMeta = unix.NFT_META_L4PROTO, true
			} else {
				condition(false, false)
			}
		case "cmp":
			condition(fromMeta && isInterface(loaded), fromMeta && isProtocol(loaded))
		case "lookup":
			_, toMap := e.Attrs[unix.NFTA_LOOKUP_DREG]
			condition(fromMeta && isInterface(loaded) && !toMap, fromMeta && isProtocol(loaded) && !toMap)
		case "objref":
			if nft.Number(e.Attrs[unix.NFTA_OBJREF_IMM_TYPE]) != unix.NFT_OBJECT_COUNTER {
				condition(false, false)
			}
		case "target":
			out.target(nft.Text(e.Attrs[unix.NFTA_TARGET_NAME]))
		case "match":
			switch name := nft.Text(e.Attrs[unix.NFTA_MATCH_NAME]); name {
			case "comment":
				if out.mark == "" {
					out.mark = ours(nft.Text(untilZero(e.Attrs[unix.NFTA_MATCH_INFO])))
				}
			default:
				condition(false, name == "limit" || name == "pkttype")
			}
		default:
			fromMeta = false
			condition(false, false)
		}
	}
	if out.does == accepts || out.does == returns || out.does == jumps || out.does == leaves {
		out.anybody = false
	}
	return out
}

// immediate takes the verdict of an expression; one that loads a value has none.
func (r *rule) immediate(e nft.RawExpr) {
	v, ok := nft.Attributes(e.Attrs[unix.NFTA_IMMEDIATE_DATA])[unix.NFTA_DATA_VERDICT]
	if !ok {
		return
	}
	attrs := nft.Attributes(v)
	r.to = nft.Text(attrs[unix.NFTA_VERDICT_CHAIN])
	switch code := int32(nft.Number(attrs[unix.NFTA_VERDICT_CODE])); code {
	case 0: // NF_DROP
		r.does = drops
	case 1: // NF_ACCEPT
		r.does = accepts
	case unix.NFT_RETURN:
		r.does = returns
	case unix.NFT_JUMP:
		r.does = jumps
	case unix.NFT_GOTO:
		r.does = leaves
	}
}

// target is what a target of xtables does. Most change or note something and go on.
func (r *rule) target(name string) {
	switch name {
	case "REJECT", "TARPIT":
		r.does = drops
	case "LOG", "NFLOG":
	case "NFQUEUE":
		r.does = accepts // a program decides
	default:
		r.anybody = false
	}
}

// protocolField reports whether the protocol of an IP header is loaded.
func protocolField(e nft.RawExpr) bool {
	offset := nft.Number(e.Attrs[unix.NFTA_PAYLOAD_OFFSET])
	return nft.Number(e.Attrs[unix.NFTA_PAYLOAD_BASE]) == unix.NFT_PAYLOAD_NETWORK_HEADER &&
		nft.Number(e.Attrs[unix.NFTA_PAYLOAD_LEN]) == 1 && (offset == 9 || offset == 6)
}

func isInterface(key uint32) bool {
	switch key {
	case unix.NFT_META_IIF, unix.NFT_META_OIF, unix.NFT_META_IIFNAME, unix.NFT_META_OIFNAME:
		return true
	}
	return false
}

func isProtocol(key uint32) bool {
	switch key {
	case unix.NFT_META_L4PROTO, unix.NFT_META_NFPROTO, unix.NFT_META_PROTOCOL, unix.NFT_META_PKTTYPE:
		return true
	}
	return false
}

func untilZero(data []byte) []byte {
	for i, c := range data {
		if c == 0 {
			return data[:i]
		}
	}
	return data
}
