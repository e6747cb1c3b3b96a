package wgnode

import (
	"errors"
	"fmt"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func put(r Record) Mutation { return Mutation{Record: r} }

func erase(r Record) Mutation {
	return Mutation{Record: Record{Kind: r.Kind, Key: r.Key}, Delete: true}
}

// recordsOf is an entity as it is stored: its definition and its usage.
func recordsOf(e entity) ([]Mutation, error) {
	definition, err := e.definition()
	if err != nil {
		return nil, err
	}
	usage, err := encodeUsage(e)
	if err != nil {
		return nil, err
	}
	return []Mutation{put(definition), put(usage)}, nil
}

// insertionOf is the batch that stores new entities, and the one that takes it back. The last sequence goes with it, so that
// none is ever given again, whatever becomes of the entities.
func insertionOf[E entity](entities ...E) (insertion, deletion []Mutation, err error) {
	var last uint64
	for _, e := range entities {
		records, err := recordsOf(e)
		if err != nil {
			return nil, nil, err
		}
		insertion = append(insertion, records...)
		for _, m := range records {
			deletion = append(deletion, erase(m.Record))
		}
		last = max(last, e.common().sequence)
	}
	sequence, err := encodeSequence(last)
	return append(insertion, put(sequence)), deletion, err
}

// removalOf is the batch that deletes entities, and the one that takes it back.
func removalOf[E entity](entities ...E) (deletion, insertion []Mutation, err error) {
	for _, e := range entities {
		records, err := recordsOf(e)
		if err != nil {
			return nil, nil, err
		}
		insertion = append(insertion, records...)
		for _, m := range records {
			deletion = append(deletion, erase(m.Record))
		}
	}
	return deletion, insertion, nil
}

// usageID is the kind and the key of a subject's usage record.
func usageID(s Subject) (RecordKind, string) {
	if key, ok := s.Peer(); ok {
		return RecordPeerUsage, key.String()
	}
	id, _ := s.Account()
	return RecordAccountUsage, id
}

func encodeUsage(e entity) (Record, error) {
	kind, key := usageID(e.subject())
	return encode(kind, key, usageRecordOf(e.common()))
}

func decodeUsage(r Record) (Subject, usageRecord, error) {
	subject := OfAccount(r.Key)
	if r.Kind == RecordPeerUsage {
		key, err := parseKey(r.Key)
		if err != nil {
			return Subject{}, usageRecord{}, fmt.Errorf("its key: %w", err)
		}
		subject = OfPeer(key)
	}
	var u usageRecord
	if err := decode(r, &u); err != nil {
		return Subject{}, usageRecord{}, err
	}
	if u.Seen < 0 {
		return Subject{}, usageRecord{}, errors.New("seen: is negative")
	}
	if u.Ledger == nil {
		return Subject{}, usageRecord{}, errors.New("it has no ledger")
	}
	return subject, u, nil
}

// parseKey accepts exactly what String of a key that is not zero prints.
func parseKey(s string) (wgtypes.Key, error) {
	key, err := wgtypes.ParseKey(s)
	switch {
	case err != nil:
		return wgtypes.Key{}, errors.New("is not a WireGuard key")
	case key == wgtypes.Key{} || key.String() != s:
		return wgtypes.Key{}, errors.New("is not a WireGuard key as this program writes one")
	}
	return key, nil
}
