package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/userspace"
)

// subject is a peer that the node has, with its private key.
type subject struct {
	private wgtypes.Key
	peer    wgnode.Peer
	// closed: nothing of it may pass.
	closed bool
}

// The accounts that the node has.
const (
	family = "family"
	firm   = "firm" // suspended
)

// specs are the peers that the node has, as they are asked for.
func specs(expiry time.Time) []wgnode.PeerSpec {
	return []wgnode.PeerSpec{
		{Name: "plain", Labels: map[string]string{"plan": "free"}},
		{Name: "capped", DataCap: quota.Cap{Bytes: 1_500_000}},
		{Name: "shared", Account: family},
		{Name: "both", Account: family, DataCap: quota.Cap{Bytes: 500_000, Counted: quota.CountUpload}},
		{Name: "slow", SpeedLimit: shaping.Limit{Download: 20_000_000, Upload: 10_000_000}},
		{Name: "suspended", DataCap: quota.Cap{Bytes: 1_000_000}},
		{Name: "in suspended", Account: firm},
		{Name: "expiring", ExpiresAt: expiry},
		{Name: "throttled", DataCap: quota.Cap{Bytes: 200_000, AtEnd: quota.Throttle, ThrottleDownload: 5_000_000}},
	}
}

// prepare makes a state in a directory, as another program may that has the library.
func prepare(ctx context.Context, dir string, expiry time.Time) (peers []subject, err error) {
	dp, err := userspace.New(userspace.Config{})
	if err != nil {
		return nil, err
	}
	store, err := boltstore.Open(state.File(dir), boltstore.Options{})
	if err != nil {
		return nil, err
	}
	node, err := wgnode.New(wgnode.Config{Dataplane: dp, Store: store, PrivateKeyFile: state.KeyFile(dir)})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	if err := node.Start(ctx); err != nil {
		return nil, err
	}
	for _, spec := range []wgnode.AccountSpec{
		{ID: family, SpeedLimit: shaping.Limit{Download: 50_000_000}, DataCap: quota.Cap{Bytes: 1_000_000}}, {ID: firm},
	} {
		if _, err := node.PutAccount(ctx, spec); err != nil {
			return nil, err
		}
	}
	for _, spec := range specs(expiry) {
		added, err := node.AddPeer(ctx, spec)
		if err != nil {
			return nil, err
		}
		peers = append(peers, subject{added.PrivateKey, added.Peer, spec.Name == "suspended" || spec.Account == firm})
		if spec.Name == "suspended" {
			err = node.Suspend(ctx, wgnode.OfPeer(added.PublicKey))
		}
		if err != nil {
			return nil, err
		}
	}
	return peers, node.Suspend(ctx, wgnode.OfAccount(firm))
}

type recordID struct {
	kind wgnode.RecordKind
	key  string
}

// records are all that is in a state file or a backup.
func records(path string) (all map[recordID]string, err error) {
	store, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Second})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	all = make(map[recordID]string)
	for r, err := range store.Load(context.Background()) {
		if err != nil {
			return nil, err
		}
		all[recordID{r.Kind, r.Key}] = string(r.Value)
	}
	return all, nil
}

// used is what a state has of a subject's usage.
type used struct {
	Counters quota.Counters `json:"counters"`
	Ledger   *quota.Ledger  `json:"ledger"`
}

func usageOf(all map[recordID]string, id recordID) (u used, err error) {
	if err := json.Unmarshal([]byte(all[id]), &u); err != nil {
		return u, fmt.Errorf("%s %q: %w", id.kind, id.key, err)
	}
	return u, nil
}

// usageID is the record of what a peer used, or an account.
func usageID(s wgnode.Subject) recordID {
	if key, ok := s.Peer(); ok {
		return recordID{wgnode.RecordPeerUsage, key.String()}
	}
	id, _ := s.Account()
	return recordID{wgnode.RecordAccountUsage, id}
}

// compare checks that a state has the peers and the accounts of another, byte for byte. Gone is whether the peer that expires must
// have left; nil: that it may have.
func compare(got, want map[recordID]string, expiring subject, gone *bool) error {
	key := expiring.peer.PublicKey.String()
	for id, value := range want {
		if id.kind != wgnode.RecordPeer && id.kind != wgnode.RecordAccount {
			continue
		}
		there, ok := got[id]
		switch {
		case id.key == key && !ok && (gone == nil || *gone):
			if err := resting(got, expiring.peer.Addrs); err != nil {
				return err
			}
		case id.key == key && ok && gone != nil && *gone:
			return fmt.Errorf("peer %s has expired at %v and is there", key, expiring.peer.ExpiresAt)
		case there != value:
			return fmt.Errorf("%s %q is %q, want %q", id.kind, id.key, there, value)
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok && (id.kind == wgnode.RecordPeer || id.kind == wgnode.RecordAccount) {
			return fmt.Errorf("%s %q is there and should not be", id.kind, id.key)
		}
	}
	return nil
}

// resting checks that the addresses of a peer that is gone are in quarantine, which lasts longer than the test.
func resting(all map[recordID]string, addrs []netip.Addr) error {
	for _, addr := range addrs {
		if _, ok := all[recordID{wgnode.RecordQuarantine, addr.String()}]; !ok {
			return fmt.Errorf("%s is not in quarantine", addr)
		}
	}
	return nil
}
