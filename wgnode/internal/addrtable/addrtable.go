// Package addrtable finds what belongs to an address, without a lock on the packet path.
//
// A change makes a new version of the table that shares all but the few nodes on the way to the address; a lookup reads
// one version. Nothing here needs a privilege or starts a goroutine.
//
//	var peers addrtable.Table[*peer]
//	peers.Set(addrs, p)
//	if p, ok := peers.Lookup(addr); ok { ... }
package addrtable

import (
	"iter"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gaissmai/bart"
)

// Table maps addresses to values. The zero value is an empty table. Lookups may run beside changes.
type Table[V any] struct {
	mu      sync.Mutex // serialises changes
	current atomic.Pointer[bart.Table[V]]
}

// Lookup returns what belongs to addr.
func (t *Table[V]) Lookup(addr netip.Addr) (V, bool) {
	if current := t.current.Load(); current != nil {
		return current.Lookup(addr)
	}
	var none V
	return none, false
}

// Set gives each of addrs to v; readers see all of them or none.
func (t *Table[V]) Set(addrs []netip.Addr, v V) {
	t.change(func(b *bart.Table[V]) *bart.Table[V] {
		for _, addr := range addrs {
			b = b.InsertPersist(host(addr), v)
		}
		return b
	})
}

// SetAll gives each address of a sequence to its value; readers see all of them or none. Of many it costs less by far than Set
// for each value.
func (t *Table[V]) SetAll(all iter.Seq2[[]netip.Addr, V]) {
	arrivals := new(bart.Table[V])
	for addrs, v := range all {
		for _, addr := range addrs {
			arrivals.Insert(host(addr), v)
		}
	}
	t.change(func(b *bart.Table[V]) *bart.Table[V] { return b.UnionPersist(arrivals) })
}

// Delete takes addrs out; those not in the table are passed over.
func (t *Table[V]) Delete(addrs []netip.Addr) {
	t.change(func(b *bart.Table[V]) *bart.Table[V] {
		for _, addr := range addrs {
			b = b.DeletePersist(host(addr))
		}
		return b
	})
}

// Clear empties the table.
func (t *Table[V]) Clear() {
	t.change(func(*bart.Table[V]) *bart.Table[V] { return new(bart.Table[V]) })
}

func (t *Table[V]) change(f func(*bart.Table[V]) *bart.Table[V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	current := t.current.Load()
	if current == nil {
		current = new(bart.Table[V])
	}
	t.current.Store(f(current))
}

func host(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }
