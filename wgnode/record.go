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

// recordVersion is the version of every record's JSON. A change that an older program would misread raises it, and takes
// a case in decode for what was written before.
const recordVersion = 1

// Keys of the records of kind RecordNode.
const (
	nodeKeyRecord  = "private-key"
	sequenceRecord = "sequence"
)

// version stands first in every record.
type version struct {
	V int `json:"v"`
}

type nodeKeyJSON struct {
	version
	PrivateKey string `json:"private_key"`
}

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
}

type usageRecord struct {
	version
	Counters quota.Counters `json:"counters"`
	Ledger   *quota.Ledger  `json:"ledger"`
}

func encode(kind RecordKind, key string, value any) (Record, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return Record{}, fmt.Errorf("encode %s %q: %w", kind, key, err)
	}
	return Record{kind, key, data}, nil
}

// decode reads a record of the version that this program writes, and refuses what it does not know.
func decode(r Record, into any) error {
	var v version
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return err
	}
	switch {
	case v.V > recordVersion:
		return fmt.Errorf("it has version %d, and this program knows none after %d: run the newer program that wrote it",
			v.V, recordVersion)
	case v.V < recordVersion:
		return fmt.Errorf("it has version %d, which never was", v.V)
	}
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func encodeNodeKey(private wgtypes.Key) (Record, error) {
	return encode(RecordNode, nodeKeyRecord, nodeKeyJSON{version{recordVersion}, private.String()})
}

func decodeNodeKey(r Record) (wgtypes.Key, error) {
	var v nodeKeyJSON
	if err := decode(r, &v); err != nil {
		return wgtypes.Key{}, err
	}
	return parseKey(v.PrivateKey)
}

func encodeSequence(last uint64) (Record, error) {
	return encode(RecordNode, sequenceRecord, sequenceJSON{version{recordVersion}, last})
}

func decodeSequence(r Record) (uint64, error) {
	var v sequenceJSON
	err := decode(r, &v)
	return v.Last, err
}

func (a *account) definition() (Record, error) {
	return encode(RecordAccount, a.id, accountJSON{
		version:    version{recordVersion},
		Sequence:   a.sequence,
		Labels:     a.labels,
		SpeedLimit: a.speedLimit,
		DataCap:    a.dataCap,
		CreatedAt:  a.createdAt,
	})
}

func decodeAccount(r Record) (*account, error) {
	var v accountJSON
	if err := decode(r, &v); err != nil {
		return nil, err
	}
	spec := AccountSpec{ID: r.Key, Labels: v.Labels, SpeedLimit: v.SpeedLimit, DataCap: v.DataCap}
	if err := errors.Join(spec.validate(), checkStored(v.Sequence, v.CreatedAt)); err != nil {
		return nil, err
	}
	return &account{
		core: core{
			subject:    OfAccount(r.Key),
			sequence:   v.Sequence,
			createdAt:  wallClock(v.CreatedAt),
			labels:     v.Labels,
			speedLimit: v.SpeedLimit,
			dataCap:    v.DataCap,
			deadline:   &deadline{index: -1},
		},
		id:    r.Key,
		peers: new(ordered[*peer]),
	}, nil
}

func (p *peer) definition() (Record, error) {
	v := peerJSON{
		version:    version{recordVersion},
		Sequence:   p.sequence,
		Name:       p.name,
		Addrs:      p.addrs,
		Account:    p.account,
		Labels:     p.labels,
		SpeedLimit: p.speedLimit,
		DataCap:    p.dataCap,
		CreatedAt:  p.createdAt,
		ExpiresAt:  p.expiresAt,
	}
	if p.presharedKey != (wgtypes.Key{}) {
		v.PresharedKey = p.presharedKey.String()
	}
	return encode(RecordPeer, p.key.String(), v)
}

func decodePeer(r Record) (*peer, error) {
	key, err := parseKey(r.Key)
	if err != nil {
		return nil, fmt.Errorf("its key: %w", err)
	}
	var v peerJSON
	if err := decode(r, &v); err != nil {
		return nil, err
	}
	var preshared wgtypes.Key
	if v.PresharedKey != "" {
		if preshared, err = parseKey(v.PresharedKey); err != nil {
			return nil, fmt.Errorf("preshared_key: %w", err)
		}
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
	p.check("record", checkStored(v.Sequence, v.CreatedAt))
	if err := p.err("content"); err != nil {
		return nil, err
	}
	return &peer{
		core: core{
			subject:    OfPeer(key),
			sequence:   v.Sequence,
			createdAt:  wallClock(v.CreatedAt),
			expiresAt:  wallClock(v.ExpiresAt),
			labels:     v.Labels,
			speedLimit: v.SpeedLimit,
			dataCap:    v.DataCap,
			deadline:   &deadline{index: -1},
		},
		key:          key,
		presharedKey: preshared,
		name:         v.Name,
		addrs:        v.Addrs,
		account:      v.Account,
	}, nil
}

func checkStored(sequence uint64, created time.Time) error {
	switch {
	case sequence == 0:
		return errors.New("it has no sequence")
	case created.IsZero():
		return errors.New("it has no time of creation")
	}
	return nil
}
