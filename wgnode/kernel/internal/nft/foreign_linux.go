package nft

import (
	"golang.org/x/sys/unix"
)

// Flags of a table (enum nft_table_flags).
const (
	// Dormant tables have chains that no packet sees.
	Dormant = 1
	// Owned tables belong to a process, and nobody else can change them.
	Owned = 2
)

// RawExpr is an expression as the kernel has it: a name, and the attributes of its kind.
type RawExpr struct {
	Name  string
	Attrs map[uint16][]byte
}

// Expressions takes a rule of anybody's apart.
func (r ActualRule) Expressions() (list []RawExpr) {
	walk(r.Exprs, func(_ uint16, data []byte) {
		e := RawExpr{Attrs: make(map[uint16][]byte)}
		walk(data, func(kind uint16, data []byte) {
			switch kind {
			case unix.NFTA_EXPR_NAME:
				e.Name = text(data)
			case unix.NFTA_EXPR_DATA:
				e.Attrs = Attributes(data)
			}
		})
		list = append(list, e)
	})
	return list
}

// Attributes takes nested attributes apart; the last one of a kind holds.
func Attributes(data []byte) map[uint16][]byte {
	attrs := make(map[uint16][]byte)
	walk(data, func(kind uint16, data []byte) { attrs[kind] = data })
	return attrs
}

// Text is the string of an attribute.
func Text(data []byte) string { return text(data) }

// Number is the number of an attribute with four bytes; 0 for all others.
func Number(data []byte) uint32 { return number32(data) }

// Mark is the comment that the kernel will have for a rule, by which the rule is known again.
func (r Rule) Mark(f Family) (string, error) {
	exprs, err := marshalExprs(f, r.Exprs)
	if err != nil {
		return "", err
	}
	return commentOf(userdata(r.Comment, exprs)), nil
}

// TableFlags reads the flags of all tables of a family; of all families for 0.
func (c *Conn) TableFlags(family Family) (map[Table]uint32, error) {
	var flags map[Table]uint32
	reset := func() { flags = make(map[Table]uint32) }
	reset()
	err := c.dumpFamilies(unix.NFT_MSG_GETTABLE, family, nil, reset, func(f Family, data []byte) {
		attrs := Attributes(data)
		flags[Table{f, text(attrs[unix.NFTA_TABLE_NAME])}] = number32(attrs[unix.NFTA_TABLE_FLAGS])
	})
	return flags, err
}

// Uses reads how often each chain of a table is used: once by each of its own rules, and once by each rule and element
// anywhere that leads to it (nft_chain.use).
func (c *Conn) Uses(t Table) (map[string]int, error) {
	var uses map[string]int
	err := c.dump(unix.NFT_MSG_GETCHAIN, t.Family, attrString(nil, unix.NFTA_CHAIN_TABLE, t.Name),
		func() { uses = make(map[string]int) },
		func(data []byte) {
			attrs := Attributes(data)
			if text(attrs[unix.NFTA_CHAIN_TABLE]) == t.Name {
				uses[text(attrs[unix.NFTA_CHAIN_NAME])] = int(number32(attrs[unix.NFTA_CHAIN_USE]))
			}
		})
	return uses, err
}
