package nft

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Expr is one expression of a rule.
type Expr interface {
	marshal(f Family) ([]byte, error)
}

// E is an expression of github.com/google/nftables.
type E struct{ expr.Any }

func (e E) marshal(f Family) ([]byte, error) { return expr.Marshal(byte(f), e.Any) }

// ObjectOf looks a key in Register up in a map to objects and evaluates the object; no match ends the rule (nft_objref.c).
type ObjectOf struct {
	Register uint32
	Map      string
}

func (e ObjectOf) marshal(Family) ([]byte, error) { //nolint:unparam // Expr has the error for others
	data := attrString(nil, unix.NFTA_EXPR_NAME, "objref")
	data, at := open(data, unix.NFTA_EXPR_DATA)
	data = attr32(data, unix.NFTA_OBJREF_SET_SREG, e.Register)
	data = attrString(data, unix.NFTA_OBJREF_SET_NAME, e.Map)
	data = attr32(data, unix.NFTA_OBJREF_SET_ID, setID(e.Map))
	return shut(data, at), nil
}

// Counting evaluates a named counter.
type Counting struct{ Counter string }

func (e Counting) marshal(Family) ([]byte, error) {
	data := attrString(nil, unix.NFTA_EXPR_NAME, "objref")
	data, at := open(data, unix.NFTA_EXPR_DATA)
	data = attr32(data, unix.NFTA_OBJREF_IMM_TYPE, unix.NFT_OBJECT_COUNTER)
	data = attrString(data, unix.NFTA_OBJREF_IMM_NAME, e.Counter)
	return shut(data, at), nil
}

// ForwardTo hands the packet to the interface whose index is in Register (nft_fwd_netdev.c).
type ForwardTo struct{ Register uint32 }

func (e ForwardTo) marshal(Family) ([]byte, error) { //nolint:unparam // as above
	const sregDev = 1 // NFTA_FWD_SREG_DEV
	data := attrString(nil, unix.NFTA_EXPR_NAME, "fwd")
	data, at := open(data, unix.NFTA_EXPR_DATA)
	return shut(attr32(data, sregDev, e.Register), at), nil
}

func marshalExprs(f Family, exprs []Expr) ([]byte, error) {
	var list []byte
	for _, e := range exprs {
		data, err := e.marshal(f)
		if err != nil {
			return nil, fmt.Errorf("nft: marshal an expression: %w", err)
		}
		list = attr(list, unix.NFTA_LIST_ELEM|nested, data)
	}
	return list, nil
}

// fingerprint is what a rule is known again by.
func fingerprint(exprs []byte) string {
	sum := sha256.Sum256(exprs)
	return hex.EncodeToString(sum[:8])
}

// userdata is a rule's comment as nft(8) shows it: a type, a length, and the text (NFTNL_UDATA_RULE_COMMENT).
func userdata(comment string, exprs []byte) []byte {
	const maxComment = 100
	text := comment[:min(len(comment), maxComment)]
	if text != "" {
		text += " "
	}
	text += "#" + fingerprint(exprs) + "\x00"
	return append([]byte{0, byte(len(text))}, text...)
}

// commentOf is the text of a rule's user data, or empty.
func commentOf(data []byte) string {
	if len(data) < 2 || data[0] != 0 || int(data[1]) > len(data)-2 {
		return ""
	}
	return text(data[2 : 2+int(data[1])])
}

// known is what tells rules apart: the fingerprint in a comment.
func known(comment string) string {
	return comment[strings.LastIndexByte(comment, '#')+1:]
}
