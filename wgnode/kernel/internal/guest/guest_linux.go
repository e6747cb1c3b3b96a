package guest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// maxTries is how often tables are read again that change between reading and writing.
const maxTries = 10

// Ensure lets packets of the interface pass in the forward chains of all other tables, and UDP packets to a port in their
// input chains, where these drop by default. It writes, as one transaction, what is missing, misplaced or too much, and
// returns in words what that was: nothing where nothing is written.
func Ensure(c *nft.Conn, iface string, port uint16) ([]string, error) {
	return carryOut(c, fmt.Sprintf("let packets of %s pass beside other firewalls", iface), func(t table) ([]string, error) {
		return t.ensure(iface, port)
	})
}

// Remove takes all rules of an interface out of all other tables, as one transaction.
func Remove(c *nft.Conn, iface string) error {
	_, err := carryOut(c, "take rules out of other firewalls", func(t table) ([]string, error) { return t.fit(iface, nil) })
	return err
}

// Intact reports whether [Ensure] would write nothing.
func Intact(c *nft.Conn, iface string, port uint16) (bool, error) {
	b := &nft.Batch{}
	err := eachTable(c, b, func(t table) error {
		_, err := t.ensure(iface, port)
		return err
	})
	return b.Len() == 0, err
}

// Locked names the tables that drop by default what [Ensure] would let pass, and that a process owns: nobody else can change
// them.
func Locked(c *nft.Conn, iface string, port uint16) (names []string, err error) {
	flags, err := c.TableFlags(0)
	if err != nil {
		return nil, err
	}
	for _, name := range sortedTables(flags) {
		if flags[name]&nft.Owned == 0 || flags[name]&nft.Dormant != 0 || !foreign(name) {
			continue
		}
		t, err := readTable(c, &nft.Batch{}, name)
		if err != nil {
			return nil, err
		}
		if notes, err := t.ensure(iface, port); err != nil {
			return nil, err
		} else if len(notes) > 0 {
			names = append(names, name.Name)
		}
	}
	return names, nil
}

// carryOut changes all tables in one transaction. It is tried again from the beginning whatever the kernel refused: the cause
// is most often a table, chain or rule that went meanwhile, as when a firewall is reloaded.
func carryOut(c *nft.Conn, what string, change func(table) ([]string, error)) ([]string, error) {
	var failed error
	for range maxTries {
		var notes []string
		b := &nft.Batch{}
		failed = eachTable(c, b, func(t table) error {
			n, err := change(t)
			notes = append(notes, n...)
			return err
		})
		if failed == nil {
			failed = c.Commit(b)
		}
		if failed == nil {
			return notes, nil
		}
	}
	return nil, fmt.Errorf("guest: %s: %w", what, failed)
}

// eachTable reads the tables that are not ours and that can be changed.
func eachTable(c *nft.Conn, b *nft.Batch, yield func(table) error) error {
	flags, err := c.TableFlags(0)
	if err != nil {
		return err
	}
	for _, name := range sortedTables(flags) {
		if !foreign(name) || flags[name]&(nft.Owned|nft.Dormant) != 0 {
			continue
		}
		t, err := readTable(c, b, name)
		if err != nil {
			return err
		}
		if err := yield(t); err != nil {
			return err
		}
	}
	return nil
}

func sortedTables(flags map[nft.Table]uint32) []nft.Table {
	return slices.SortedFunc(maps.Keys(flags), func(a, b nft.Table) int {
		if a.Family != b.Family {
			return int(a.Family) - int(b.Family)
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// foreign reports whether a table is another's, of a family whose packets are ours too.
func foreign(t nft.Table) bool {
	return !strings.HasPrefix(t.Name, rules.Prefix) && (t.Family == nft.Inet || t.Family == nft.IPv4 || t.Family == nft.IPv6)
}

// table is one of another's, and where changes to it go.
type table struct {
	nft.Table
	batch  *nft.Batch
	actual map[string]nft.ActualChain
	uses   map[string]int
}

func readTable(c *nft.Conn, b *nft.Batch, name nft.Table) (t table, err error) {
	t = table{Table: name, batch: b}
	if t.actual, err = c.Chains(name); err != nil {
		return table{}, err
	}
	t.uses, err = c.Uses(name)
	return t, err
}

// ensure makes our rules in the table those that it needs.
func (t table) ensure(iface string, port uint16) ([]string, error) {
	foreigners := newChains(t.actual, t.uses)
	want := make(map[place][]nft.Rule)
	for _, name := range slices.Sorted(maps.Keys(t.actual)) {
		hook := t.actual[name].Hook
		if hook == nil || hook.Kind != "filter" {
			continue
		}
		var wanted []nft.Rule
		switch hook.Number {
		case unix.NF_INET_FORWARD:
			wanted = []nft.Rule{comes(iface), goes(iface)}
		case unix.NF_INET_LOCAL_IN:
			wanted = []nft.Rule{arrives(iface, port)}
		default:
			continue
		}
		if at, closed := foreigners.closedAt(name, hook.Drop); closed {
			want[at] = wanted
		}
	}
	return t.fit(iface, want)
}

// fit makes the rules of an interface stand where they are wanted and nowhere else.
func (t table) fit(iface string, want map[place][]nft.Rule) (notes []string, err error) {
	for _, chain := range slices.Sorted(maps.Keys(t.actual)) {
		has := t.find(iface, chain)
		same, places := true, 0
		for at, rules := range want {
			if at.chain != chain {
				continue
			}
			places++
			marks := make([]string, len(rules))
			for i, r := range rules {
				if marks[i], err = r.Mark(t.Family); err != nil {
					return nil, err
				}
			}
			same = same && slices.Equal(marks, has.marks[at.index])
		}
		if same && places == len(has.marks) {
			continue
		}
		for _, handle := range has.handles {
			t.batch.DeleteRule(t.Table, chain, handle)
		}
		for at, rules := range want {
			if at.chain == chain {
				t.put(chain, append(has.foreign, 0)[at.index], rules)
			}
		}
		notes = append(notes, fmt.Sprintf("set rules for %s in chain %s of table %s, which is another firewall's", iface, chain, t.Name))
	}
	return notes, nil
}

// put adds rules before the one with a handle; at the end for 0.
func (t table) put(chain string, before uint64, rules []nft.Rule) {
	for _, r := range rules {
		if before == 0 {
			t.batch.AddRule(t.Table, chain, r)
		} else {
			t.batch.InsertRule(t.Table, chain, before, r)
		}
	}
}

// found is what is in a chain.
type found struct {
	foreign []uint64         // the handles of rules that are not ours
	handles []uint64         // those of the interface
	marks   map[int][]string // of the interface's rules, by the index of the foreign rule that they stand before
}

func (t table) find(iface, chain string) found {
	f := found{marks: make(map[int][]string)}
	for _, r := range t.actual[chain].Rules {
		switch mark := read(r).mark; {
		case mark == "":
			f.foreign = append(f.foreign, r.Handle)
		case strings.HasPrefix(mark, comment(iface)+fingerprint):
			f.handles = append(f.handles, r.Handle)
			f.marks[len(f.foreign)] = append(f.marks[len(f.foreign)], mark)
		}
	}
	return f
}
