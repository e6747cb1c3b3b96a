package wgnode

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/waylume/waylume/ipam"
)

// resting are the addresses of former peers that are in quarantine, and when that ends by the wall clock. The store has them,
// too, so that no restart gives one to another peer too early. Some may be over.
type resting map[netip.Addr]time.Time

type restingJSON struct {
	version
	Until time.Time `json:"until"`
}

func encodeResting(addr netip.Addr, until time.Time) (Record, error) {
	return encode(RecordQuarantine, addr.String(), restingJSON{version{firstVersion}, until})
}

func decodeResting(r Record) (netip.Addr, time.Time, error) {
	addr, err := netip.ParseAddr(r.Key)
	if err != nil || addr.String() != r.Key || addr.Zone() != "" {
		return netip.Addr{}, time.Time{}, errors.New("its key is not an address as this program writes one")
	}
	var v restingJSON
	if err := decode(r, &v); err != nil {
		return netip.Addr{}, time.Time{}, err
	}
	if v.Until.IsZero() {
		return netip.Addr{}, time.Time{}, errors.New("it has no end")
	}
	return addr, wallClock(v.Until), nil
}

// restOf is the quarantine that begins when peers are removed, the batch that stores it, and the one that takes it back.
func restOf(pool *ipam.Pool, peers []*peer, now time.Time) (rest resting, insertion, deletion []Mutation, err error) {
	if pool.Quarantine() == 0 {
		return nil, nil, nil, nil
	}
	until := wallClock(now.Add(pool.Quarantine()))
	rest = make(resting)
	for _, p := range peers {
		for _, addr := range p.addrs {
			r, err := encodeResting(addr, until)
			if err != nil {
				return nil, nil, nil, err
			}
			rest[addr] = until
			insertion, deletion = append(insertion, put(r)), append(deletion, erase(r))
		}
	}
	return rest, insertion, deletion, nil
}

// endRest is the batch that forgets the quarantine of addresses that are leased again.
func (r resting) endRest(peers []*peer) (deletion []Mutation) {
	for _, p := range peers {
		for _, addr := range p.addrs {
			if _, ok := r[addr]; ok {
				deletion = append(deletion, eraseResting(addr))
			}
		}
	}
	return deletion
}

func eraseResting(addr netip.Addr) Mutation {
	return erase(Record{Kind: RecordQuarantine, Key: addr.String()})
}

// over are the addresses whose quarantine is over.
func (r resting) over(now time.Time) (addrs []netip.Addr) {
	for addr, until := range r {
		if !until.After(now) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// resume puts addresses into the quarantine of a pool that is new, and returns the batch that forgets those which that does not
// concern: their time is over, or the pool does not have them.
func (r resting) resume(pool *ipam.Pool, now time.Time) (deletion []Mutation, err error) {
	// By the end of the quarantine, as that is how the pool queues them.
	addrs := slices.SortedFunc(maps.Keys(r), func(a, b netip.Addr) int { return cmp.Or(r[a].Compare(r[b]), a.Compare(b)) })
	for _, addr := range addrs {
		if r[addr].After(now) && pool.LeaseAddr(addr) == nil {
			if err := pool.ReleaseUntil(addr, r[addr]); err != nil {
				return nil, fmt.Errorf("quarantine of %s: %w", addr, err)
			}
			continue
		}
		deletion = append(deletion, eraseResting(addr))
		delete(r, addr)
	}
	return deletion, nil
}
