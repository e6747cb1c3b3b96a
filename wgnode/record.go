package wgnode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// recordVersion is the newest version of a record's JSON. A change that an older program would misread, or not know, raises
// it, and takes a case in decode for what was written before. Each record is written in the oldest version that can say it,
// so that an older program can go on with a store that makes no use of what it does not know, and names the reason if it
// cannot.
//
//	2: suspended, grace_period, idle_timeout, former_key; lapsed and seen of usage
//	3: former_keys and keys_before of usage; public_key and next_public_key in place of private_key of the node
//	4: former_private_key, former_public_key and overlap_ends of the node's key
const (
	recordVersion = 4
	firstVersion  = 1
)

// since is the version of a record that makes use of what came with it, or not.
func since(v int, used bool) version {
	if used {
		return version{v}
	}
	return version{firstVersion}
}

// Keys of the records of kind RecordNode.
const (
	nodeKeyRecord  = "private-key"
	sequenceRecord = "sequence"
	runningRecord  = "running-time"
)

// version stands first in every record.
type version struct {
	V int `json:"v"`
}

func (v version) number() int { return v.V }

// versioned is what a record is decoded into.
type versioned interface{ number() int }

type sequenceJSON struct {
	version
	Last uint64 `json:"last"`
}

type accountJSON struct {
	version
	Sequence   uint64            `json:"sequence"`
	Labels     map[string]string `json:"labels,omitempty"`
	SpeedLimit shaping.Limit     `json:"speed_limit"`
	DataCap    quota.Cap         `json:"data_cap"`
	CreatedAt  time.Time         `json:"created_at"`
	Suspended  bool              `json:"suspended,omitzero"`
}

type peerJSON struct {
	version
	Sequence     uint64            `json:"sequence"`
	PresharedKey string            `json:"preshared_key,omitempty"`
	Name         string            `json:"name,omitempty"`
	Addrs        []netip.Addr      `json:"addrs"`
	Account      string            `json:"account,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	SpeedLimit   shaping.Limit     `json:"speed_limit"`
	DataCap      quota.Cap         `json:"data_cap"`
	CreatedAt    time.Time         `json:"created_at"`
	ExpiresAt    time.Time         `json:"expires_at,omitzero"`
	GracePeriod  time.Duration     `json:"grace_period,omitzero"` // ns, as all durations
	IdleTimeout  time.Duration     `json:"idle_timeout,omitzero"`
	Suspended    bool              `json:"suspended,omitzero"`
	FormerKey    string            `json:"former_key,omitempty"`
}

type usageRecord struct {
	version
	Counters quota.Counters `json:"counters"`
	Ledger   *quota.Ledger  `json:"ledger"`
	// Lapsed: it was told that the peer expired.
	Lapsed bool `json:"lapsed,omitzero"`
	// Seen is of a peer with an idle timeout: how long the node had run when the peer last gave a sign.
	Seen time.Duration `json:"seen,omitzero"`
	// FormerKeys is what a peer used under other keys than its present one, and KeysBefore what under each of the last of them.
	FormerKeys quota.Counters `json:"former_keys,omitzero"`
	KeysBefore []keyUse       `json:"keys_before,omitempty"`
}

func usageRecordOf(c *core) usageRecord {
	former := c.formerKeys()
	u := usageRecord{Counters: c.counters, Ledger: c.ledger, Lapsed: c.lapsed, FormerKeys: former.all, KeysBefore: former.each}
	if c.idleTimeout > 0 {
		u.Seen = c.seen
	}
	u.version = since(2, u.Lapsed || u.Seen != 0)
	if u.FormerKeys != (quota.Counters{}) || len(u.KeysBefore) > 0 {
		u.version = since(3, true)
	}
	return u
}

func encode(kind RecordKind, key string, value any) (Record, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return Record{}, fmt.Errorf("encode %s %q: %w", kind, key, err)
	}
	return Record{kind, key, data}, nil
}

// decode reads a record of any version that there was, and refuses what it does not know.
func decode(r Record, into versioned) error {
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	v := into.number()
	if err != nil { // perhaps for what a newer version brought
		var first version
		if err := json.Unmarshal(r.Value, &first); err != nil {
			return err
		}
		v = first.V
	}
	switch {
	case v > recordVersion:
		return fmt.Errorf("it has version %d, and this program knows none after %d: run the newer program that wrote it",
			v, recordVersion)
	case v < firstVersion:
		return fmt.Errorf("it has version %d, which never was", v)
	case err != nil:
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func encodeSequence(last uint64) (Record, error) {
	return encode(RecordNode, sequenceRecord, sequenceJSON{version{firstVersion}, last})
}

func decodeSequence(r Record) (uint64, error) {
	var v sequenceJSON
	err := decode(r, &v)
	return v.Last, err
}

func (a *account) definition() (Record, error) {
	return encode(RecordAccount, a.id, accountJSON{
		version:    since(2, a.suspended),
		Sequence:   a.sequence,
		Labels:     a.labels,
		SpeedLimit: a.speedLimit,
		DataCap:    a.ledger.Cap(),
		CreatedAt:  a.createdAt.time(),
		Suspended:  a.suspended,
	})
}

// decodeAccount returns an account without its ledger, and the cap that the ledger is to have.
func decodeAccount(r Record) (*account, quota.Cap, error) {
	var v accountJSON
	if err := decode(r, &v); err != nil {
		return nil, quota.Cap{}, err
	}
	spec := AccountSpec{ID: r.Key, Labels: v.Labels, SpeedLimit: v.SpeedLimit, DataCap: v.DataCap}
	if err := errors.Join(spec.validate(), checkStored(v.Sequence, v.CreatedAt)); err != nil {
		return nil, quota.Cap{}, err
	}
	return &account{
		core: core{
			tenure:     tenure{suspended: v.Suspended},
			sequence:   v.Sequence,
			createdAt:  instantOf(v.CreatedAt),
			labels:     v.Labels,
			speedLimit: v.SpeedLimit,
		},
		id:    r.Key,
		peers: new(ordered[*peer]),
	}, v.DataCap, nil
}

func (p *peer) definition() (Record, error) {
	newer := p.suspended || p.gracePeriod() != 0 || p.idleTimeout != 0 || p.formerKey != nil
	v := peerJSON{
		version:     since(2, newer),
		Sequence:    p.sequence,
		Name:        p.name,
		Addrs:       p.addrs,
		Account:     p.account,
		Labels:      p.labels,
		SpeedLimit:  p.speedLimit,
		DataCap:     p.ledger.Cap(),
		CreatedAt:   p.createdAt.time(),
		ExpiresAt:   p.expiresAt(),
		GracePeriod: p.gracePeriod(),
		IdleTimeout: p.idleTimeout,
		Suspended:   p.suspended,
	}
	if p.formerKey != nil {
		v.FormerKey = p.formerKey.String()
	}
	if p.presharedKey != nil {
		v.PresharedKey = p.presharedKey.String()
	}
	return encode(RecordPeer, p.key.String(), v)
}

// decodePeer returns a peer without its ledger, and the cap that the ledger is to have.
func decodePeer(r Record) (*peer, quota.Cap, error) {
	key, err := parseKey(r.Key)
	if err != nil {
		return nil, quota.Cap{}, fmt.Errorf("its key: %w", err)
	}
	var v peerJSON
	if err := decode(r, &v); err != nil {
		return nil, quota.Cap{}, err
	}
	preshared, err := parseOptionalKey(v.PresharedKey)
	if err != nil {
		return nil, quota.Cap{}, fmt.Errorf("preshared_key: %w", err)
	}
	former, err := parseOptionalKey(v.FormerKey)
	if err != nil {
		return nil, quota.Cap{}, fmt.Errorf("former_key: %w", err)
	}
	var p problems
	p.text("name", v.Name, 0, MaxNameLen)
	p.text("account", v.Account, 0, MaxNameLen)
	p.labels(v.Labels)
	p.check("speed_limit", v.SpeedLimit.Validate())
	p.dataCap("data_cap", v.DataCap)
	if len(v.Addrs) == 0 || slices.ContainsFunc(v.Addrs, func(a netip.Addr) bool { return !a.IsValid() || a.Zone() != "" }) {
		p.add("addrs", "are not the addresses of a peer")
	}
	p.gracePeriod("grace_period", v.GracePeriod)
	p.idleTimeout("idle_timeout", v.IdleTimeout)
	p.check("record", checkStored(v.Sequence, v.CreatedAt))
	if err := p.err("content"); err != nil {
		return nil, quota.Cap{}, err
	}
	return &peer{
		core: core{
			tenure: tenure{
				suspended: v.Suspended, expiry: expiryOf(wallClock(v.ExpiresAt), v.GracePeriod), idleTimeout: v.IdleTimeout,
			},
			sequence:   v.Sequence,
			createdAt:  instantOf(v.CreatedAt),
			labels:     v.Labels,
			speedLimit: v.SpeedLimit,
		},
		key:          key,
		presharedKey: optional(preshared),
		name:         v.Name,
		addrs:        v.Addrs,
		account:      v.Account,
		formerKey:    optional(former),
	}, v.DataCap, nil
}

func parseOptionalKey(s string) (wgtypes.Key, error) {
	if s == "" {
		return wgtypes.Key{}, nil
	}
	return parseKey(s)
}

func checkStored(sequence uint64, created time.Time) error {
	switch {
	case sequence == 0:
		return errors.New("it has no sequence")
	case created.IsZero():
		return errors.New("it has no time of creation")
	case !instantOf(created).time().Equal(created):
		return errors.New("its time of creation is out of range")
	}
	return nil
}
