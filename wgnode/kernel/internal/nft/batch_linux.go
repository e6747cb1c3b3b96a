package nft

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Bounds of one message that adds or removes elements: the kernel's attributes have 16 bits for their length.
const (
	maxElements     = 1000
	maxElementBytes = 48 << 10
)

// Batch is a transaction in the making. The zero value is empty and ready. What it holds takes effect in the order in which
// it was added.
type Batch struct {
	messages []netlink.Message
	what     []string // of each message, for errors
	err      error
}

// Len is the number of messages.
func (b *Batch) Len() int { return len(b.messages) }

func (b *Batch) add(kind uint16, flags netlink.HeaderFlags, t Table, what string, data []byte) {
	b.messages = append(b.messages, netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | flags},
		Data:   append(header(make([]byte, 0, 4+len(data)), t.Family, 0), data...),
	})
	b.what = append(b.what, what)
}

// AddTable makes a table, if it is not there.
func (b *Batch) AddTable(t Table) {
	b.add(unix.NFT_MSG_NEWTABLE, netlink.Create, t, "add table "+t.Name,
		attr32(attrString(nil, unix.NFTA_TABLE_NAME, t.Name), unix.NFTA_TABLE_FLAGS, 0))
}

// DeleteTable removes a table with all that is in it.
func (b *Batch) DeleteTable(t Table) {
	b.add(unix.NFT_MSG_DELTABLE, 0, t, "delete table "+t.Name, attrString(nil, unix.NFTA_TABLE_NAME, t.Name))
}

// AddChain makes a chain without its rules.
func (b *Batch) AddChain(t Table, c Chain) {
	data := attrString(nil, unix.NFTA_CHAIN_TABLE, t.Name)
	data = attrString(data, unix.NFTA_CHAIN_NAME, c.Name)
	if c.Hook != nil {
		var at int
		data, at = open(data, unix.NFTA_CHAIN_HOOK)
		data = attr32(data, unix.NFTA_HOOK_HOOKNUM, c.Hook.Number)
		data = attr32(data, unix.NFTA_HOOK_PRIORITY, uint32(c.Hook.Priority))
		if c.Hook.Device != "" {
			data = attrString(data, unix.NFTA_HOOK_DEV, c.Hook.Device)
		}
		data = shut(data, at)
		policy := uint32(1) // NF_ACCEPT
		if c.Hook.Drop {
			policy = 0
		}
		data = attr32(data, unix.NFTA_CHAIN_POLICY, policy)
		data = attrString(data, unix.NFTA_CHAIN_TYPE, c.Hook.Kind)
	}
	b.add(unix.NFT_MSG_NEWCHAIN, netlink.Create, t, "add chain "+c.Name, data)
}

// DeleteChain removes a chain that is empty and that nothing jumps to.
func (b *Batch) DeleteChain(t Table, name string) {
	b.add(unix.NFT_MSG_DELCHAIN, 0, t, "delete chain "+name,
		attrString(attrString(nil, unix.NFTA_CHAIN_TABLE, t.Name), unix.NFTA_CHAIN_NAME, name))
}

// FlushChain removes all rules of a chain.
func (b *Batch) FlushChain(t Table, name string) {
	b.add(unix.NFT_MSG_DELRULE, 0, t, "flush chain "+name,
		attrString(attrString(nil, unix.NFTA_RULE_TABLE, t.Name), unix.NFTA_RULE_CHAIN, name))
}

// AddRule appends a rule to a chain.
func (b *Batch) AddRule(t Table, chain string, r Rule) { b.rule(t, chain, 0, r, netlink.Append) }

// InsertRule puts a rule before the one with a handle.
func (b *Batch) InsertRule(t Table, chain string, before uint64, r Rule) {
	b.rule(t, chain, before, r, 0)
}

func (b *Batch) rule(t Table, chain string, position uint64, r Rule, flags netlink.HeaderFlags) {
	exprs, err := marshalExprs(t.Family, r.Exprs)
	if err != nil && b.err == nil {
		b.err = err
	}
	data := attrString(nil, unix.NFTA_RULE_TABLE, t.Name)
	data = attrString(data, unix.NFTA_RULE_CHAIN, chain)
	if position != 0 {
		data = attr64(data, unix.NFTA_RULE_POSITION, position)
	}
	data = attr(data, unix.NFTA_RULE_EXPRESSIONS|nested, exprs)
	data = attr(data, unix.NFTA_RULE_USERDATA, userdata(r.Comment, exprs))
	b.add(unix.NFT_MSG_NEWRULE, netlink.Create|flags, t, "add a rule to chain "+chain, data)
}

// DeleteRule removes one rule.
func (b *Batch) DeleteRule(t Table, chain string, handle uint64) {
	data := attrString(nil, unix.NFTA_RULE_TABLE, t.Name)
	data = attrString(data, unix.NFTA_RULE_CHAIN, chain)
	b.add(unix.NFT_MSG_DELRULE, 0, t, "delete a rule of chain "+chain, attr64(data, unix.NFTA_RULE_HANDLE, handle))
}

// AddSet makes a set without its elements.
func (b *Batch) AddSet(t Table, s Set) {
	var flags uint32
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	data := attrString(nil, unix.NFTA_SET_TABLE, t.Name)
	data = attrString(data, unix.NFTA_SET_NAME, s.Name)
	data = attr32(data, unix.NFTA_SET_KEY_TYPE, s.Key.magic())
	data = attr32(data, unix.NFTA_SET_KEY_LEN, s.Key.size())
	switch s.Value {
	case NoValue:
	case ClassValue:
		const classid = 23 // TYPE_CLASSID of nft's include/datatype.h
		flags |= unix.NFT_SET_MAP
		data = attr32(data, unix.NFTA_SET_DATA_TYPE, classid)
		data = attr32(data, unix.NFTA_SET_DATA_LEN, 4)
	case CounterValue, QuotaValue:
		flags |= unix.NFT_SET_OBJECT
		data = attr32(data, unix.NFTA_SET_OBJ_TYPE, s.Value.objectType())
	}
	data = attr32(data, unix.NFTA_SET_FLAGS, flags)
	data = attr32(data, unix.NFTA_SET_ID, setID(s.Name))
	data = attr(data, unix.NFTA_SET_USERDATA, byteOrder())
	b.add(unix.NFT_MSG_NEWSET, netlink.Create, t, "add set "+s.Name, data)
}

// setID is a number for a set that is used in the transaction that makes it. The kernel looks sets up by name first.
func setID(name string) uint32 {
	id := uint32(2166136261) // FNV-1a
	for _, c := range []byte(name) {
		id = (id ^ uint32(c)) * 16777619
	}
	return id | 1
}

// byteOrder tells nft(8) how to print keys and values: NFTNL_UDATA_SET_KEYBYTEORDER big, NFTNL_UDATA_SET_DATABYTEORDER host.
func byteOrder() []byte {
	const host, big = 1, 2
	data := binary.NativeEndian.AppendUint32([]byte{0, 4}, big)
	return binary.NativeEndian.AppendUint32(append(data, 1, 4), host)
}

func (v ValueType) objectType() uint32 {
	if v == QuotaValue {
		return unix.NFT_OBJECT_QUOTA
	}
	return unix.NFT_OBJECT_COUNTER
}

// DeleteSet removes a set with its elements.
func (b *Batch) DeleteSet(t Table, name string) {
	b.add(unix.NFT_MSG_DELSET, 0, t, "delete set "+name,
		attrString(attrString(nil, unix.NFTA_SET_TABLE, t.Name), unix.NFTA_SET_NAME, name))
}

// FlushSet removes all elements of a set.
func (b *Batch) FlushSet(t Table, name string) {
	b.add(unix.NFT_MSG_DELSETELEM, 0, t, "flush set "+name,
		attrString(attrString(nil, unix.NFTA_SET_ELEM_LIST_TABLE, t.Name), unix.NFTA_SET_ELEM_LIST_SET, name))
}

// AddElements puts elements into a set. One that is there with the same value is left; with another value the batch fails
// with EEXIST, as a key has to be deleted before it can mean something else.
func (b *Batch) AddElements(t Table, s Set, elements map[Key]Value) {
	b.elements(unix.NFT_MSG_NEWSETELEM, netlink.Create, t, s, elements, "add elements to "+s.Name)
}

// DeleteElements takes elements out of a set. It fails with ENOENT if one is not there.
func (b *Batch) DeleteElements(t Table, s Set, elements map[Key]Value) {
	b.elements(unix.NFT_MSG_DELSETELEM, 0, t, s, elements, "delete elements from "+s.Name)
}

func (b *Batch) elements(kind uint16, flags netlink.HeaderFlags, t Table, s Set, elements map[Key]Value, what string) {
	keys := slices.SortedFunc(maps.Keys(elements), compareKeys)
	for len(keys) > 0 {
		data := attrString(nil, unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
		data = attrString(data, unix.NFTA_SET_ELEM_LIST_SET, s.Name)
		data, list := open(data, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		n := 0
		for n < len(keys) && n < maxElements && len(data) < maxElementBytes {
			data = element(data, s, keys[n], elements[keys[n]])
			n++
		}
		keys = keys[n:]
		b.add(kind, flags, t, what, shut(data, list))
	}
}

// compareKeys sorts by address, an end before a beginning, as an interval set wants them.
func compareKeys(a, b Key) int {
	if c := strings.Compare(a.Data, b.Data); c != 0 || a.End == b.End {
		return c
	}
	if a.End {
		return -1
	}
	return 1
}

func element(data []byte, s Set, key Key, value Value) []byte {
	data, elem := open(data, unix.NFTA_LIST_ELEM)
	if key.End {
		data = attr32(data, unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	data, k := open(data, unix.NFTA_SET_ELEM_KEY)
	data = shut(attr(data, unix.NFTA_DATA_VALUE, []byte(key.Data)), k)
	switch s.Value {
	case NoValue:
	case ClassValue:
		var class [4]byte
		binary.NativeEndian.PutUint32(class[:], value.Class)
		var v int
		data, v = open(data, unix.NFTA_SET_ELEM_DATA)
		data = shut(attr(data, unix.NFTA_DATA_VALUE, class[:]), v)
	case CounterValue, QuotaValue:
		data = attrString(data, unix.NFTA_SET_ELEM_OBJREF, value.Object)
	}
	return shut(data, elem)
}

// SetObject makes an object. For one that is there, a quota takes the new limit and keeps what it has seen (and speaks again
// when it is used up), and a counter stays as it is (nft_quota_obj_update in net/netfilter/nft_quota.c).
func (b *Batch) SetObject(t Table, name string, o Object) {
	kind := uint32(unix.NFT_OBJECT_COUNTER)
	data := objectName(t, name)
	if o.Quota {
		kind = unix.NFT_OBJECT_QUOTA
	}
	data = attr32(data, unix.NFTA_OBJ_TYPE, kind)
	data, at := open(data, unix.NFTA_OBJ_DATA)
	if o.Quota {
		var flags uint32
		if o.Over {
			flags = unix.NFT_QUOTA_F_INV
		}
		data = attr64(data, unix.NFTA_QUOTA_BYTES, o.Bytes)
		data = attr32(data, unix.NFTA_QUOTA_FLAGS, flags)
		data = attr64(data, unix.NFTA_QUOTA_CONSUMED, o.Used)
	} else {
		data = attr64(data, unix.NFTA_COUNTER_BYTES, o.Bytes)
		data = attr64(data, unix.NFTA_COUNTER_PACKETS, o.Packets)
	}
	b.add(unix.NFT_MSG_NEWOBJ, netlink.Create, t, "set object "+name, shut(data, at))
}

// DeleteObject removes an object that nothing refers to any more.
func (b *Batch) DeleteObject(t Table, name string, quota bool) {
	kind := uint32(unix.NFT_OBJECT_COUNTER)
	if quota {
		kind = unix.NFT_OBJECT_QUOTA
	}
	b.add(unix.NFT_MSG_DELOBJ, 0, t, "delete object "+name, attr32(objectName(t, name), unix.NFTA_OBJ_TYPE, kind))
}

func objectName(t Table, name string) []byte {
	return attrString(attrString(nil, unix.NFTA_OBJ_TABLE, t.Name), unix.NFTA_OBJ_NAME, name)
}
