package wgnode

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// stocked is a store with every kind of record, and the records.
func stocked(t testing.TB) (*faultyStore, map[RecordKind]Record) {
	t.Helper()
	r := startRig(t)
	_, err := r.PutAccount(t.Context(), AccountSpec{
		ID: "acme", Labels: map[string]string{"plan": "gold"}, SpeedLimit: shaping.Limit{Download: 12_345_678},
		DataCap: quota.Cap{Bytes: quota.GiB, Period: quota.Period{Kind: quota.Monthly, TimeZone: "Europe/Berlin", Day: 31}},
	})
	require.NoError(t, err)
	key := r.add(t, PeerSpec{
		Name: "laptop", Account: "acme", Labels: map[string]string{"team": "red"}, PresharedKey: [32]byte{1},
		SpeedLimit: shaping.Limit{Upload: 99_999}, ExpiresAt: time.Now().Add(time.Hour),
		DataCap: quota.Cap{Bytes: 1000, AtEnd: quota.Throttle, ThrottleUpload: 8000, Thresholds: []int{}},
	}).PublicKey
	r.dataplane.move(key, quota.Upload, 123)
	require.NoError(t, r.Close())
	records := make(map[RecordKind]Record)
	for _, record := range r.store.snapshot() {
		if record.Key != sequenceRecord {
			records[record.Kind] = record
		}
	}
	require.Len(t, records, 5)
	return r.store, records
}

// TestWhatIsStoredComesBack compares a node with the one before it, field by field.
func TestWhatIsStoredComesBack(t *testing.T) {
	store, _ := stocked(t)
	first := newRig(t, store)
	require.NoError(t, first.Start(t.Context()))
	before := imageOf(t, first)
	second := first.again(t)
	require.Equal(t, before, imageOf(t, second))
	p := before.peers[0]
	require.Equal(t, "laptop", p.Name)
	require.True(t, p.HasPresharedKey)
	require.Equal(t, uint64(123), before.usage[OfPeer(p.PublicKey)].Counters.Upload)
	require.Equal(t, quota.Bytes(123), before.usage[OfAccount("acme")].Used)
	second.sound(t)
}

// TestSequencesAreNeverGivenAgain removes the last peer before a restart.
func TestSequencesAreNeverGivenAgain(t *testing.T) {
	r := startRig(t)
	p := r.add(t, PeerSpec{})
	require.NoError(t, r.RemovePeer(t.Context(), p.PublicKey))
	require.Greater(t, r.again(t).add(t, PeerSpec{}).Sequence, p.Sequence)
}

// TestCorruptRecords has a node refuse every way in which a record can be wrong, and say which one it is.
func TestCorruptRecords(t *testing.T) {
	_, records := stocked(t)
	edit := func(kind RecordKind, field string, value any) func([]Record) []Record {
		return func(all []Record) []Record {
			for i, r := range all {
				if r.Kind == kind && r.Key != sequenceRecord {
					var v map[string]any
					require.NoError(t, json.Unmarshal(r.Value, &v))
					if v[field] = value; value == nil {
						delete(v, field)
					}
					changed, err := json.Marshal(v)
					require.NoError(t, err)
					all[i].Value = changed
				}
			}
			return all
		}
	}
	without := func(kind RecordKind) func([]Record) []Record {
		return func(all []Record) []Record {
			var rest []Record
			for _, r := range all {
				if r.Kind != kind {
					rest = append(rest, r)
				}
			}
			return rest
		}
	}
	add := func(r Record) func([]Record) []Record { return func(all []Record) []Record { return append(all, r) } }
	twin := records[RecordPeer]
	twin.Key = newKey(t).String()
	twin.Value = bytes.Replace(twin.Value, []byte(`"sequence":2`), []byte(`"sequence":7`), 1)
	twinUsage := records[RecordPeerUsage]
	twinUsage.Key = twin.Key

	second := records[RecordAccount]
	second.Key = "second"
	secondUsage := records[RecordAccountUsage]
	secondUsage.Key = "second"

	tests := map[string]struct {
		spoil func([]Record) []Record
		want  string // part of the error
	}{
		"unknown kind":          {add(Record{"fleet", "k", []byte("{}")}), "no such kind"},
		"unknown node record":   {add(Record{RecordNode, "k", []byte("{}")}), "no such record"},
		"newer account":         {edit(RecordAccount, "v", recordVersion+1), "newer program"},
		"older peer":            {edit(RecordPeer, "v", 0), "version 0"},
		"unknown field":         {edit(RecordPeer, "colour", "red"), "colour"},
		"no sequence":           {edit(RecordPeer, "sequence", nil), "no sequence"},
		"no creation":           {edit(RecordAccount, "created_at", nil), "no time of creation"},
		"no addresses":          {edit(RecordPeer, "addrs", []string{}), "addrs"},
		"strange address":       {edit(RecordPeer, "addrs", []string{"fe80::1%eth0"}), "addrs"},
		"bad rate":              {edit(RecordPeer, "speed_limit", map[string]any{"download": "1bit", "upload": "unlimited"}), "speed_limit"},
		"bad cap":               {edit(RecordAccount, "data_cap", map[string]any{"bytes": "many"}), "many"},
		"bad preshared key":     {edit(RecordPeer, "preshared_key", "c2hvcnQ="), "preshared_key"},
		"bad former key":        {edit(RecordPeer, "former_key", "c2hvcnQ="), "former_key"},
		"bad grace period":      {edit(RecordPeer, "grace_period", -1), "grace_period"},
		"bad idle timeout":      {edit(RecordPeer, "idle_timeout", 1), "idle_timeout"},
		"bad sign of life":      {edit(RecordPeerUsage, "seen", -1), "seen"},
		"bad running time":      {add(Record{RecordNode, runningRecord, []byte(`{"v":2,"running":-1}`)}), "running"},
		"bad name":              {edit(RecordPeer, "name", "a\nb"), "name"},
		"bad private key":       {edit(RecordNode, "private_key", "c2hvcnQ="), "not a WireGuard key"},
		"no ledger":             {edit(RecordPeerUsage, "ledger", nil), "no ledger"},
		"negative counter":      {edit(RecordPeerUsage, "counters", map[string]any{"upload": -1}), "counters"},
		"account lost":          {without(RecordAccount), `account "acme" is not stored`},
		"account lost whole":    {func(all []Record) []Record { return without(RecordAccount)(without(RecordAccountUsage)(all)) }, `account "acme" is not stored`},
		"usage lost":            {without(RecordPeerUsage), "missing"},
		"peer lost":             {without(RecordPeer), "belongs to nothing"},
		"two with one address":  {func(all []Record) []Record { return append(all, twin, twinUsage) }, "another stored peer's"},
		"two with one sequence": {func(all []Record) []Record { return append(all, second, secondUsage) }, "its sequence"},
		"key that is no key":    {add(Record{RecordPeer, "bob", []byte("{}")}), "its key"},
		"usage of no key":       {add(Record{RecordPeerUsage, "bob", []byte("{}")}), "its key"},
		"account with no name":  {add(Record{RecordAccount, "\x00", records[RecordAccount].Value}), "control characters"},
		"trailing data":         {add(Record{RecordAccount, "b", append(bytes.Clone(records[RecordAccount].Value), '1')}), "b"},
		"truncated":             {add(Record{RecordAccount, "b", records[RecordAccount].Value[:20]}), "unexpected end"},
		"empty":                 {add(Record{RecordAccount, "b", nil}), "unexpected end"},
		"sequence of text":      {add(Record{RecordNode, sequenceRecord, []byte(`{"v":1,"last":"x"}`)}), "last"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			original := copyRecords(t, records)
			store := newFaultyStore()
			var batch []Mutation
			for _, r := range test.spoil(original) {
				batch = append(batch, put(r))
			}
			require.NoError(t, store.Commit(t.Context(), batch))
			kept := store.snapshot()
			r := newRig(t, store)
			err := r.Start(t.Context())
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, test.want)
			require.Zero(t, r.dataplane.count("Start"))
			require.ElementsMatch(t, kept, store.snapshot(), "nothing was dropped")
		})
	}
}

// copyRecords returns copies of records, with the sequence that belongs to them.
func copyRecords(t *testing.T, records map[RecordKind]Record) []Record {
	t.Helper()
	var all []Record
	for _, r := range records {
		r.Value = bytes.Clone(r.Value)
		all = append(all, r)
	}
	sequence, err := encodeSequence(2)
	require.NoError(t, err)
	return append(all, sequence)
}

func TestStoreThatCannotBeRead(t *testing.T) {
	store, _ := stocked(t)
	r := newRig(t, store)
	require.NoError(t, r.Start(t.Context()))
	key := r.inv.peerOrder.entries[0].key
	require.NoError(t, r.Close())

	// A pool without the stored address: nothing is lost, and the error says what to do.
	other := newRig(t, store, func(c *Config) { c.Pool.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/24")} })
	err := other.Start(t.Context())
	require.ErrorIs(t, err, ipam.ErrNotInPool)
	require.ErrorContains(t, err, key.String())
	require.ErrorContains(t, err, "Config.Pool")
}

// FuzzRecords holds that no record, whatever is in it, makes a node panic, or start with something that it would refuse
// from a caller, and that what a node loads it stores the same.
func FuzzRecords(f *testing.F) {
	_, records := stocked(f)
	for _, r := range records {
		f.Add(string(r.Kind), r.Key, r.Value)
	}
	f.Add(string(RecordPeer), strings.Repeat("A", 44), []byte(`{"v":1,"addrs":["10.0.0.2"],"sequence":1}`))
	f.Fuzz(func(t *testing.T, kind, key string, value []byte) {
		r := Record{RecordKind(kind), key, value}
		k := newKept()
		if err := k.take(r); err != nil {
			return
		}
		for _, a := range k.accounts {
			var err error
			a.ledger, err = quota.NewLedger(k.caps[a.subject()], time.Now(), quota.Counters{})
			require.NoError(t, err)
			again, err := a.definition()
			require.NoError(t, err)
			b, limit, err := decodeAccount(again)
			require.NoError(t, err)
			require.True(t, a.matches(AccountSpec{ID: b.id, Labels: b.labels, SpeedLimit: b.speedLimit, DataCap: limit}))
		}
		for _, p := range k.peers {
			var err error
			p.ledger, err = quota.NewLedger(k.caps[p.subject()], time.Now(), quota.Counters{})
			require.NoError(t, err)
			again, err := p.definition()
			require.NoError(t, err)
			q, limit, err := decodePeer(again)
			require.NoError(t, err)
			require.True(t, limit.Equal(p.ledger.Cap()))
			q.ledger = p.ledger
			require.Equal(t, p, q)
		}
		for subject, u := range k.usage {
			usageKind, usageKey := usageID(subject)
			again, err := encode(usageKind, usageKey, u)
			require.NoError(t, err)
			_, v, err := decodeUsage(again)
			require.NoError(t, err)
			require.Equal(t, u.Ledger.Budget(), v.Ledger.Budget())
		}
	})
}
