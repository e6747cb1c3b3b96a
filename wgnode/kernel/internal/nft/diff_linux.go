package nft

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Note says in words what differed, and for elements keyed by address of which addresses.
type Note struct {
	What  string
	Addrs []netip.Addr
}

// Diff adds to b what turns a table into want, and returns in words what differs: nothing where nothing does. Nil stands for
// a table that is not there. What counters and quotas have seen is left alone, and so is an object's place in the kernel:
// rules, chains and elements are made anew around them.
//
// A chain is compared by the fingerprints of its rules. One that differs is emptied and filled in the same transaction, so
// that no packet sees it half done.
func Diff(b *Batch, t Table, want *Content, have *Actual) ([]Note, error) {
	d := &differ{b: b, t: t}
	if have == nil {
		have = &Actual{}
		d.note("table %s was missing", t.Name)
		b.AddTable(t)
	}
	refill, err := d.chains(want, have)
	if err != nil {
		return nil, err
	}
	d.objects(want, have)
	rebuilt := d.sets(want, have)
	if len(rebuilt) > 0 {
		// A set can only be deleted when no rule names it: then all chains are made anew.
		refill = make(map[string]bool)
		for _, c := range want.Chains {
			refill[c.Name] = true
		}
		d.flush(have)
	}
	for _, s := range rebuilt {
		b.DeleteSet(t, s.Name)
		delete(have.Elements, s.Name)
		b.AddSet(t, s)
	}
	for _, s := range want.Sets {
		d.elements(s, want.Elements[s.Name], have.Elements[s.Name])
	}
	for _, c := range want.Chains {
		if refill[c.Name] {
			for _, r := range c.Rules {
				b.AddRule(t, c.Name, r)
			}
		}
	}
	d.strays(want, have)
	return d.notes, nil
}

type differ struct {
	b       *Batch
	t       Table
	notes   []Note
	flushed map[string]bool
}

func (d *differ) note(format string, args ...any) {
	d.notes = append(d.notes, Note{What: fmt.Sprintf(format, args...)})
}

// chains makes chains that are missing, empties those that differ, and returns both: they are to be filled.
func (d *differ) chains(want *Content, have *Actual) (map[string]bool, error) {
	refill := make(map[string]bool)
	d.flushed = make(map[string]bool)
	for _, c := range want.Chains {
		actual, ok := have.Chains[c.Name]
		if ok && !sameHook(c.Hook, actual.Hook) {
			d.note("chain %s hung elsewhere", c.Name)
			d.b.FlushChain(d.t, c.Name)
			d.b.DeleteChain(d.t, c.Name)
			d.flushed[c.Name] = true
			ok = false
		} else if !ok {
			d.note("chain %s was missing", c.Name)
		}
		if !ok {
			d.b.AddChain(d.t, c)
			refill[c.Name] = true
			continue
		}
		same, err := sameRules(d.t.Family, c.Rules, actual.Rules)
		if err != nil {
			return nil, err
		}
		if !same {
			d.note("the rules of chain %s differed", c.Name)
			d.b.FlushChain(d.t, c.Name)
			d.flushed[c.Name] = true
			refill[c.Name] = true
		}
	}
	return refill, nil
}

func sameHook(a, b *Hook) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func sameRules(f Family, want []Rule, have []ActualRule) (bool, error) {
	if len(want) != len(have) {
		return false, nil
	}
	for i, r := range want {
		exprs, err := marshalExprs(f, r.Exprs)
		if err != nil {
			return false, err
		}
		if fingerprint(exprs) != known(have[i].Comment) {
			return false, nil
		}
	}
	return true, nil
}

// flush empties the chains that were not emptied yet.
func (d *differ) flush(have *Actual) {
	for _, name := range slices.Sorted(maps.Keys(have.Chains)) {
		if !d.flushed[name] {
			d.flushed[name] = true
			d.b.FlushChain(d.t, name)
		}
	}
}

func (d *differ) objects(want *Content, have *Actual) {
	var differing []string
	for name, o := range want.Objects {
		if actual, ok := have.Objects[name]; !ok || !actual.same(o) {
			differing = append(differing, name)
		}
	}
	slices.Sort(differing)
	for _, name := range differing {
		d.note("object %s was missing or differed", name)
		d.b.SetObject(d.t, name, want.Objects[name])
	}
}

// sets makes sets that are missing and returns those that are of another type.
func (d *differ) sets(want *Content, have *Actual) (rebuilt []Set) {
	for _, s := range want.Sets {
		actual, ok := have.Sets[s.Name]
		switch {
		case !ok:
			d.note("set %s was missing", s.Name)
			d.b.AddSet(d.t, s)
		case actual.Set != s || actual.foreign:
			d.note("set %s was of another type", s.Name)
			rebuilt = append(rebuilt, s)
		}
	}
	return rebuilt
}

func (d *differ) elements(s Set, want, have map[Key]Value) {
	if s.Interval {
		// Ranges cannot be told from others by one end: they are replaced together.
		if !maps.Equal(want, have) {
			d.note("the ranges of %s differed", s.Name)
			if len(have) > 0 {
				d.b.FlushSet(d.t, s.Name)
			}
			d.b.AddElements(d.t, s, want)
		}
		return
	}
	stray, missing := make(map[Key]Value), make(map[Key]Value)
	for key, value := range have {
		if w, ok := want[key]; !ok || w != value {
			stray[key] = value
		}
	}
	for key, value := range want {
		if h, ok := have[key]; !ok || h != value {
			missing[key] = value
		}
	}
	if len(stray) > 0 {
		d.note("%d elements of %s were stray or wrong", len(stray), s.Name)
		d.about(stray)
		d.b.DeleteElements(d.t, s, stray)
	}
	if len(missing) > 0 {
		d.note("%d elements of %s were missing or wrong", len(missing), s.Name)
		d.about(missing)
		d.b.AddElements(d.t, s, missing)
	}
}

// about says which addresses the last note is of.
func (d *differ) about(elements map[Key]Value) {
	last := &d.notes[len(d.notes)-1]
	for key := range elements {
		if addr, ok := netip.AddrFromSlice([]byte(key.Data)); ok {
			last.Addrs = append(last.Addrs, addr)
		}
	}
	slices.SortFunc(last.Addrs, netip.Addr.Compare)
}

// strays removes what is not wanted: chains, then sets, then objects, as each may be named by the one before.
func (d *differ) strays(want *Content, have *Actual) {
	var chains []string
	for _, name := range slices.Sorted(maps.Keys(have.Chains)) {
		if !slices.ContainsFunc(want.Chains, func(c Chain) bool { return c.Name == name }) {
			chains = append(chains, name)
		}
	}
	for _, name := range chains {
		d.note("chain %s was not ours", name)
		if !d.flushed[name] {
			d.b.FlushChain(d.t, name)
		}
	}
	for _, name := range chains {
		d.b.DeleteChain(d.t, name)
	}
	for _, name := range slices.Sorted(maps.Keys(have.Sets)) {
		if !slices.ContainsFunc(want.Sets, func(s Set) bool { return s.Name == name }) {
			d.note("set %s was not ours", name)
			d.b.DeleteSet(d.t, name)
		}
	}
	var objects []string
	for name := range have.Objects {
		if _, ok := want.Objects[name]; !ok {
			objects = append(objects, name)
		}
	}
	slices.Sort(objects)
	for _, name := range objects {
		d.note("object %s was not ours", name)
		d.b.DeleteObject(d.t, name, have.Objects[name].Quota)
	}
}
