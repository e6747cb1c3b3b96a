package nft

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Actual is what is in a table of the kernel's.
type Actual struct {
	Sets     map[string]ActualSet
	Chains   map[string]ActualChain
	Objects  map[string]Object
	Elements map[string]map[Key]Value
}

// ActualSet is a set as the kernel has it.
type ActualSet struct {
	Set
	foreign bool // of a type that this package does not make
}

// ActualChain is a chain as the kernel has it.
type ActualChain struct {
	Hook  *Hook
	Rules []ActualRule
}

// ActualRule is a rule as the kernel has it.
type ActualRule struct {
	Handle  uint64
	Comment string
	// Exprs are the marshalled expressions, a list of NFTA_LIST_ELEM.
	Exprs []byte
}

// Tables lists all tables of a family; of all families for 0.
func (c *Conn) Tables(family Family) ([]Table, error) {
	var tables []Table
	err := c.dumpFamilies(unix.NFT_MSG_GETTABLE, family, nil, func() { tables = nil }, func(f Family, data []byte) {
		walk(data, func(kind uint16, data []byte) {
			if kind == unix.NFTA_TABLE_NAME {
				tables = append(tables, Table{f, text(data)})
			}
		})
	})
	return tables, err
}

// dumpFamilies is dump for each of the families that have tables, as the family is in a header that dump has cut off.
func (c *Conn) dumpFamilies(kind uint16, family Family, data []byte, reset func(), yield func(Family, []byte)) error {
	families := []Family{Inet, NetDev, IPv4, IPv6}
	if family != 0 {
		families = []Family{family}
	}
	for _, f := range families {
		var answers [][]byte
		err := c.dump(kind, f, data, func() { answers = nil }, func(data []byte) { answers = append(answers, data) })
		if err != nil {
			reset()
			return err
		}
		for _, a := range answers {
			yield(f, a)
		}
	}
	return nil
}

// Exists reports whether a table is there.
func (c *Conn) Exists(t Table) (bool, error) {
	tables, err := c.Tables(t.Family)
	return slices.Contains(tables, t), err
}

// Read reads a table whole; nil if it is not there.
func (c *Conn) Read(t Table) (*Actual, error) {
	ok, err := c.Exists(t)
	if !ok || err != nil {
		return nil, err
	}
	a := &Actual{}
	if a.Chains, err = c.Chains(t); err != nil {
		return nil, err
	}
	if a.Sets, err = c.sets(t); err != nil {
		return nil, err
	}
	if a.Objects, err = c.Objects(t); err != nil {
		return nil, err
	}
	a.Elements = make(map[string]map[Key]Value, len(a.Sets))
	for _, s := range a.Sets {
		if a.Elements[s.Name], err = c.elements(t, s); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Chains reads the chains of a table with their rules.
func (c *Conn) Chains(t Table) (map[string]ActualChain, error) {
	var chains map[string]ActualChain
	err := c.dump(unix.NFT_MSG_GETCHAIN, t.Family, attrString(nil, unix.NFTA_CHAIN_TABLE, t.Name),
		func() { chains = make(map[string]ActualChain) },
		func(data []byte) {
			if table, name, hook := parseChain(data); table == t.Name {
				chains[name] = ActualChain{Hook: hook}
			}
		})
	if err != nil {
		return nil, err
	}
	var rules map[string][]ActualRule
	err = c.dump(unix.NFT_MSG_GETRULE, t.Family, attrString(nil, unix.NFTA_RULE_TABLE, t.Name),
		func() { rules = make(map[string][]ActualRule) },
		func(data []byte) {
			if table, chain, rule := parseRule(data); table == t.Name {
				rules[chain] = append(rules[chain], rule)
			}
		})
	for name, list := range rules {
		chains[name] = ActualChain{Hook: chains[name].Hook, Rules: list}
	}
	return chains, err
}

func parseChain(data []byte) (table, name string, hook *Hook) {
	var h Hook
	walk(data, func(kind uint16, data []byte) {
		switch kind {
		case unix.NFTA_CHAIN_TABLE:
			table = text(data)
		case unix.NFTA_CHAIN_NAME:
			name = text(data)
		case unix.NFTA_CHAIN_TYPE:
			h.Kind = text(data)
		case unix.NFTA_CHAIN_POLICY:
			h.Drop = number32(data) == 0
		case unix.NFTA_CHAIN_HOOK:
			hook = &h
			walk(data, h.parse)
		}
	})
	return table, name, hook
}

func (h *Hook) parse(kind uint16, data []byte) {
	const hookDevices = 4 // NFTA_HOOK_DEVS
	switch kind {
	case unix.NFTA_HOOK_HOOKNUM:
		h.Number = number32(data)
	case unix.NFTA_HOOK_PRIORITY:
		h.Priority = int32(number32(data))
	case unix.NFTA_HOOK_DEV:
		h.Device = text(data)
	case hookDevices:
		walk(data, func(_ uint16, data []byte) { h.Device = text(data) })
	}
}

func parseRule(data []byte) (table, chain string, r ActualRule) {
	walk(data, func(kind uint16, data []byte) {
		switch kind {
		case unix.NFTA_RULE_TABLE:
			table = text(data)
		case unix.NFTA_RULE_CHAIN:
			chain = text(data)
		case unix.NFTA_RULE_HANDLE:
			r.Handle = number64(data)
		case unix.NFTA_RULE_EXPRESSIONS:
			r.Exprs = data
		case unix.NFTA_RULE_USERDATA:
			r.Comment = commentOf(data)
		}
	})
	return table, chain, r
}

func (c *Conn) sets(t Table) (map[string]ActualSet, error) {
	var sets map[string]ActualSet
	err := c.dump(unix.NFT_MSG_GETSET, t.Family, attrString(nil, unix.NFTA_SET_TABLE, t.Name),
		func() { sets = make(map[string]ActualSet) },
		func(data []byte) {
			s := parseSet(data)
			sets[s.Name] = s
		})
	return sets, err
}

func parseSet(data []byte) (s ActualSet) {
	var flags, keyLen, objectType, dataLen uint32
	walk(data, func(kind uint16, data []byte) {
		switch kind {
		case unix.NFTA_SET_NAME:
			s.Name = text(data)
		case unix.NFTA_SET_FLAGS:
			flags = number32(data)
		case unix.NFTA_SET_KEY_LEN:
			keyLen = number32(data)
		case unix.NFTA_SET_DATA_LEN:
			dataLen = number32(data)
		case unix.NFTA_SET_OBJ_TYPE:
			objectType = number32(data)
		}
	})
	switch keyLen {
	case KeyIPv6.size():
		s.Key = KeyIPv6
	case KeyPort.size():
		s.Key = KeyPort
	}
	s.Interval = flags&unix.NFT_SET_INTERVAL != 0
	switch {
	case objectType == unix.NFT_OBJECT_COUNTER:
		s.Value = CounterValue
	case objectType == unix.NFT_OBJECT_QUOTA:
		s.Value = QuotaValue
	case flags&unix.NFT_SET_MAP != 0:
		s.Value = ClassValue
	}
	s.foreign = keyLen != s.Key.size() || flags&^(unix.NFT_SET_INTERVAL|unix.NFT_SET_MAP|unix.NFT_SET_OBJECT) != 0 ||
		s.Value == ClassValue && dataLen != 4
	return s
}

func (c *Conn) elements(t Table, s ActualSet) (map[Key]Value, error) {
	var elements map[Key]Value
	data := attrString(attrString(nil, unix.NFTA_SET_ELEM_LIST_TABLE, t.Name), unix.NFTA_SET_ELEM_LIST_SET, s.Name)
	err := c.dump(unix.NFT_MSG_GETSETELEM, t.Family, data,
		func() { elements = make(map[Key]Value) },
		func(data []byte) {
			walk(data, func(kind uint16, data []byte) {
				if kind == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
					walk(data, func(_ uint16, data []byte) {
						key, value := parseElement(data)
						elements[key] = value
					})
				}
			})
		})
	return elements, err
}

func parseElement(data []byte) (key Key, value Value) {
	walk(data, func(kind uint16, data []byte) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			walk(data, func(_ uint16, data []byte) { key.Data = string(data) })
		case unix.NFTA_SET_ELEM_FLAGS:
			key.End = number32(data)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_OBJREF:
			value.Object = text(data)
		case unix.NFTA_SET_ELEM_DATA:
			walk(data, func(_ uint16, data []byte) {
				if len(data) == 4 {
					value.Class = binary.NativeEndian.Uint32(data)
				}
			})
		}
	})
	return key, value
}

// Objects reads all counters and quotas of a table.
func (c *Conn) Objects(t Table) (map[string]Object, error) {
	var objects map[string]Object
	err := c.dump(unix.NFT_MSG_GETOBJ, t.Family, attrString(nil, unix.NFTA_OBJ_TABLE, t.Name),
		func() { objects = make(map[string]Object) },
		func(data []byte) {
			if table, name, o := ParseObject(data); table == t.Name {
				objects[name] = o
			}
		})
	return objects, err
}

// Object reads one counter or quota. It is an error that matches os.ErrNotExist if it is not there.
func (c *Conn) Object(t Table, name string, quota bool) (Object, error) {
	kind := uint32(unix.NFT_OBJECT_COUNTER)
	if quota {
		kind = unix.NFT_OBJECT_QUOTA
	}
	data, err := c.get(unix.NFT_MSG_GETOBJ, t.Family, attr32(objectName(t, name), unix.NFTA_OBJ_TYPE, kind))
	if err != nil {
		return Object{}, fmt.Errorf("read object %s: %w", name, err)
	}
	return parseObject(data), nil
}

// ParseObject reads the attributes of a message about an object.
func ParseObject(data []byte) (table, name string, o Object) {
	walk(data, func(kind uint16, data []byte) {
		switch kind {
		case unix.NFTA_OBJ_TABLE:
			table = text(data)
		case unix.NFTA_OBJ_NAME:
			name = text(data)
		}
	})
	return table, name, parseObject(data)
}

// parseObject is ParseObject for who knows the name, and allocates nothing.
func parseObject(data []byte) (o Object) {
	var payload []byte
	walk(data, func(kind uint16, data []byte) {
		switch kind {
		case unix.NFTA_OBJ_TYPE:
			o.Quota = number32(data) == unix.NFT_OBJECT_QUOTA
		case unix.NFTA_OBJ_DATA:
			payload = data
		}
	})
	walk(payload, func(kind uint16, data []byte) {
		switch {
		case o.Quota && kind == unix.NFTA_QUOTA_BYTES, !o.Quota && kind == unix.NFTA_COUNTER_BYTES:
			o.Bytes = number64(data)
		case o.Quota && kind == unix.NFTA_QUOTA_CONSUMED:
			o.Used = number64(data)
		case o.Quota && kind == unix.NFTA_QUOTA_FLAGS:
			o.Over = number32(data)&unix.NFT_QUOTA_F_INV != 0
		case !o.Quota && kind == unix.NFTA_COUNTER_PACKETS:
			o.Packets = number64(data)
		}
	})
	return o
}
