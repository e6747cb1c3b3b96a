package nft

import (
	"golang.org/x/sys/unix"
)

// Family is the address family of a table.
type Family byte

// Families that a dataplane needs.
const (
	Inet   Family = unix.NFPROTO_INET
	NetDev Family = unix.NFPROTO_NETDEV
	IPv4   Family = unix.NFPROTO_IPV4
	IPv6   Family = unix.NFPROTO_IPV6
)

// Table names a table.
type Table struct {
	Family Family
	Name   string
}

// Hook makes a chain a base chain.
type Hook struct {
	// Kind is "filter" or "nat".
	Kind string
	// Number is the hook's in its family: unix.NF_INET_FORWARD, unix.NF_NETDEV_INGRESS.
	Number   uint32
	Priority int32
	// Device is the interface of a hook of the family netdev.
	Device string
	// Drop is the policy for packets that no rule decides.
	Drop bool
}

// Chain is a chain with its rules in order.
type Chain struct {
	Name  string
	Hook  *Hook // nil for one that others jump to
	Rules []Rule
}

// Rule is one rule. Its comment, with a fingerprint of the expressions, is kept with it in the kernel, and is how a rule is
// known again.
type Rule struct {
	Comment string
	Exprs   []Expr
}

// KeyType is what a set is keyed by.
type KeyType uint8

// Types of keys: addresses of either family, and ports.
const (
	KeyIPv4 KeyType = iota
	KeyIPv6
	KeyPort
)

// size and magic are the length in bytes and the number that nft(8) knows the type by.
func (k KeyType) size() uint32  { return [...]uint32{4, 16, 2}[k] }
func (k KeyType) magic() uint32 { return [...]uint32{7, 8, 13}[k] }

// ValueType is what a set maps its keys to.
type ValueType uint8

// Types of values.
const (
	NoValue      ValueType = iota // a set, not a map
	ClassValue                    // a traffic class, as in skb->priority
	CounterValue                  // a counter by name
	QuotaValue                    // a quota by name
)

// Set is a set or a map without its elements.
type Set struct {
	Name  string
	Key   KeyType
	Value ValueType
	// Interval makes it a set of ranges; see [Ranges].
	Interval bool
}

// Key is an element's key: the bytes of the address or port, and whether it ends a range.
type Key struct {
	Data string
	End  bool
}

// Value is what an element maps to: Class or Object, by the set's type.
type Value struct {
	Class  uint32
	Object string
}

// Object is a counter or a quota.
type Object struct {
	Quota bool
	// Bytes is what a counter counted, or a quota's limit.
	Bytes uint64
	// Packets is what a counter counted.
	Packets uint64
	// Used is what a quota has seen.
	Used uint64
	// Over makes a quota match what is past the limit; else it matches what is not.
	Over bool
}

// same reports whether two objects need no change: what they counted meanwhile is not compared.
func (o Object) same(p Object) bool {
	return o.Quota == p.Quota && (!o.Quota || o.Bytes == p.Bytes && o.Over == p.Over)
}

// Content is what is in a table.
type Content struct {
	Chains   []Chain
	Sets     []Set
	Objects  map[string]Object
	Elements map[string]map[Key]Value // by set
	// Room is how many elements a set is likely to get: a hint.
	Room int
}

// NewContent returns an empty table.
func NewContent() *Content {
	return &Content{Objects: make(map[string]Object), Elements: make(map[string]map[Key]Value)}
}

// Add puts an element into a set.
func (c *Content) Add(set string, key Key, value Value) {
	elements := c.Elements[set]
	if elements == nil {
		elements = make(map[Key]Value, c.Room)
		c.Elements[set] = elements
	}
	elements[key] = value
}

// Ruleset is everything that is to be in some tables.
type Ruleset map[Table]*Content
