package wgnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
)

// kept is what the store had, checked record by record.
type kept struct {
	key      keyRecord
	sequence uint64
	running  time.Duration
	accounts map[string]*account
	peers    map[wgtypes.Key]*peer
	usage    map[Subject]usageRecord
	// caps are those of the accounts and the peers, which their ledgers must have.
	caps    map[Subject]quota.Cap
	resting resting
	// stored is the last time that a record of usage was brought up to.
	stored time.Time
}

func newKept() *kept {
	return &kept{
		accounts: make(map[string]*account),
		peers:    make(map[wgtypes.Key]*peer),
		usage:    make(map[Subject]usageRecord),
		caps:     make(map[Subject]quota.Cap),
		resting:  make(resting),
	}
}

// load reads the store. Any record that cannot be used is an error: nothing is dropped unseen.
func (n *Node) load(ctx context.Context) (*kept, error) {
	k := newKept()
	for record, err := range n.cfg.Store.Load(ctx) {
		if err != nil {
			return nil, err
		}
		if err := k.take(record); err != nil {
			return nil, &CorruptError{record.Kind, record.Key, err}
		}
	}
	return k, nil
}

// take decodes one record.
func (k *kept) take(r Record) error {
	switch r.Kind {
	case RecordNode:
		return k.takeNode(r)
	case RecordAccount:
		a, limit, err := decodeAccount(r)
		if err == nil {
			k.accounts[a.id], k.caps[a.subject()] = a, limit
		}
		return err
	case RecordPeer:
		p, limit, err := decodePeer(r)
		if err == nil {
			k.peers[p.key], k.caps[p.subject()] = p, limit
		}
		return err
	case RecordAccountUsage, RecordPeerUsage:
		subject, usage, err := decodeUsage(r)
		if err == nil {
			k.usage[subject] = usage
			if at := usage.Ledger.Now(); at.After(k.stored) {
				k.stored = at
			}
		}
		return err
	case RecordQuarantine:
		addr, until, err := decodeResting(r)
		if err == nil {
			k.resting[addr] = until
		}
		return err
	default:
		return errors.New("this program knows no such kind of record")
	}
}

func (k *kept) takeNode(r Record) (err error) {
	switch r.Key {
	case nodeKeyRecord:
		k.key, err = decodeNodeKey(r)
	case sequenceRecord:
		k.sequence, err = decodeSequence(r)
	case runningRecord:
		k.running, err = decodeRunning(r)
	default:
		err = errors.New("this program knows no such record")
	}
	return err
}

// populate makes the inventory of what was kept: it joins usage to its subjects, leases addresses, and lets time pass for
// data caps. Peers whose time was over meanwhile are left out; their addresses are in quarantine.
func (k *kept) populate(inv *inventory, pool *ipam.Pool, now time.Time) (expired []*peer, events []Event, err error) {
	if err := errors.Join(unambiguous(inOrder(k.accounts)), unambiguous(inOrder(k.peers))); err != nil {
		return nil, nil, err
	}
	inv.sequence, inv.ranBefore, inv.surveyed = k.sequence, k.running, k.running
	for _, a := range inOrder(k.accounts) {
		if err := k.join(a); err != nil {
			return nil, nil, err
		}
		events = append(events, advance(a, now)...)
		inv.addAccount(a)
	}
	for _, p := range inOrder(k.peers) {
		if err := k.admit(p, inv, pool); err != nil {
			return nil, nil, err
		}
		if !p.over(now) {
			events = append(events, advance(p, now)...)
			events = append(events, p.reinstate(inv, now)...)
			inv.addPeer(p)
			continue
		}
		for _, addr := range p.addrs {
			if err := pool.Release(addr); err != nil {
				return nil, nil, fmt.Errorf("address of expired peer %s: %w", p.key, err)
			}
		}
		expired = append(expired, p)
		events = append(events, removed(p, RemovalExpired))
	}
	for subject := range k.usage {
		return nil, nil, corruptUsage(subject, "it belongs to nothing that is stored")
	}
	return expired, events, nil
}

// reinstate fits a peer that was stored in with what else was. It tells of an expiry that was not told.
func (p *peer) reinstate(inv *inventory, now time.Time) []Event {
	p.accountSuspended = inv.suspended(p.account)
	told := p.lapsed
	p.lapsed = p.expired(now)
	p.unsaved = p.unsaved || p.lapsed != told
	p.seen = min(p.seen, inv.ranBefore) // the rest is lost that it had run for
	p.expectIdle(now, inv.ranBefore)
	if !p.lapsed || told {
		return nil
	}
	return []Event{expired(p)}
}

// admit checks that a peer fits with what else was kept, and leases its addresses.
func (k *kept) admit(p *peer, inv *inventory, pool *ipam.Pool) error {
	if err := k.join(p); err != nil {
		return err
	}
	if _, ok := inv.accounts[p.account]; !ok && p.account != "" {
		return corrupt(p, fmt.Sprintf("its account %q is not stored", p.account))
	}
	for _, addr := range p.addrs {
		err := pool.LeaseAddr(addr)
		switch {
		case errors.Is(err, ipam.ErrTaken):
			return corrupt(p, fmt.Sprintf("its address %s is another stored peer's too", addr))
		case err != nil:
			return fmt.Errorf("stored peer %s: %w (start with a Config.Pool that has the address, and remove the peer "+
				"before the pool changes)", p.key, err)
		}
	}
	return nil
}

// join gives an entity its usage.
func (k *kept) join(e entity) error {
	s := e.subject()
	usage, ok := k.usage[s]
	if !ok {
		return corruptUsage(s, "it is missing")
	}
	if limit := k.caps[s]; !usage.Ledger.Cap().Equal(limit) {
		return corruptUsage(s, "it is measured against another data cap")
	}
	delete(k.usage, s)
	delete(k.caps, s)
	e.common().restore(usage)
	return nil
}

// unambiguous checks that no two entities, which are in order, have one sequence.
func unambiguous[E entity](entities []E) error {
	for i := 1; i < len(entities); i++ {
		if entities[i].common().sequence == entities[i-1].common().sequence {
			return corrupt(entities[i], "its sequence is another's too")
		}
	}
	return nil
}

func corrupt(e entity, reason string) error {
	if id, ok := e.subject().Account(); ok {
		return &CorruptError{RecordAccount, id, errors.New(reason)}
	}
	key, _ := e.subject().Peer()
	return &CorruptError{RecordPeer, key.String(), errors.New(reason)}
}

func corruptUsage(s Subject, reason string) error {
	kind, key := usageID(s)
	return &CorruptError{kind, key, errors.New(reason)}
}

// inOrder sorts what was kept by sequence, so that a start is the same whatever order the store has.
func inOrder[K comparable, T sequenced](entries map[K]T) []T {
	return slices.SortedFunc(maps.Values(entries), func(a, b T) int { return cmp.Compare(a.order(), b.order()) })
}
