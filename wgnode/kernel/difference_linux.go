package kernel

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// difference is the transaction that leads from some elements and objects to others. Objects come before the elements that
// name them, and go after.
func difference(before, after map[rules.Place]nft.Value, objectsBefore, objectsAfter map[string]nft.Object, inet ...nft.Table) *nft.Batch {
	type place struct {
		table nft.Table
		set   nft.Set
	}
	gone, come := make(map[place]map[nft.Key]nft.Value), make(map[place]map[nft.Key]nft.Value)
	put := func(to map[place]map[nft.Key]nft.Value, p rules.Place, v nft.Value) {
		at := place{p.Table, p.Set}
		if to[at] == nil {
			to[at] = make(map[nft.Key]nft.Value)
		}
		to[at][p.Key] = v
	}
	for p, v := range before {
		if w, ok := after[p]; !ok || w != v {
			put(gone, p, v)
		}
	}
	for p, v := range after {
		if w, ok := before[p]; !ok || w != v {
			put(come, p, v)
		}
	}
	b := &nft.Batch{}
	for _, t := range inet {
		for _, name := range slices.Sorted(maps.Keys(objectsAfter)) {
			o := objectsAfter[name]
			if old, ok := objectsBefore[name]; !ok || o.Quota && (old.Bytes != o.Bytes) {
				b.SetObject(t, name, o)
			}
		}
	}
	for at, elements := range gone {
		b.DeleteElements(at.table, at.set, elements)
	}
	for at, elements := range come {
		b.AddElements(at.table, at.set, elements)
	}
	for _, t := range inet {
		for _, name := range slices.Sorted(maps.Keys(objectsBefore)) {
			if _, ok := objectsAfter[name]; !ok {
				b.DeleteObject(t, name, objectsBefore[name].Quota)
			}
		}
	}
	return b
}

// attribute makes one repair of all notes about the elements of a peer's, and one of each other note.
func attribute(notes []nft.Note, r *records) (repairs []wgnode.Repair) {
	owners := make(map[netip.Addr]string)
	for key, p := range r.peers {
		for _, addr := range p.state.Addrs {
			owners[addr] = key.String()
		}
	}
	seen := make(map[string]bool)
	for _, n := range notes {
		strange := len(n.Addrs) == 0
		for _, addr := range n.Addrs {
			owner, ok := owners[addr]
			strange = strange || !ok
			if ok && !seen[owner] {
				seen[owner] = true
				repairs = append(repairs, wgnode.Repair{What: "mended what the tables hold of a peer", Subject: owner})
			}
		}
		if strange {
			repairs = append(repairs, wgnode.Repair{What: n.What})
		}
	}
	return repairs
}
