package crashtest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// shard is what one caller has to do with: keys and accounts that are nobody else's, and what a node must have of them. What is
// asked of a shard is asked one after the other, so that what a node must have is known but for the call under way.
type shard struct {
	keys     []keyPair
	names    []string // of accounts
	peers    map[wgtypes.Key]*modelPeer
	accounts map[string]*modelAccount
}

// modelPeer is a peer that there must be.
type modelPeer struct {
	// spec is what adding it anew would ask for: every change is a change of it.
	spec wgnode.PeerSpec
	// addrs and sequence are the node's choice; not known of a peer whose adding was cut off.
	addrs    []netip.Addr
	sequence uint64
	extra    []topUp
	// left is when it may have gone at the earliest, before its end was changed; zero: it is there while its end has not come.
	left time.Time
	// changed is when its end was changed last, at the latest.
	changed time.Time
}

// topUp is what a cap was topped up by, and when.
type topUp struct {
	bytes quota.Bytes
	at    span
}

// modelAccount is an account that there must be.
type modelAccount struct {
	spec     wgnode.AccountSpec
	sequence uint64
	extra    []topUp
}

type keyPair struct{ private, public wgtypes.Key }

func newShard(r *rand.Rand, index, keys, accounts int) *shard {
	s := &shard{peers: make(map[wgtypes.Key]*modelPeer), accounts: make(map[string]*modelAccount)}
	for range keys {
		private := drawKey(r)
		s.keys = append(s.keys, keyPair{private, private.PublicKey()})
	}
	for i := range accounts {
		s.names = append(s.names, fmt.Sprintf("customer-%d-%d", index, i))
	}
	return s
}

// drawKey returns a private key, clamped as RFC 7748, section 5, has it.
func drawKey(r *rand.Rand) (key wgtypes.Key) {
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	key[0] &= 248
	key[31] = key[31]&127 | 64
	return key
}

// clone copies all that operations change.
func (s *shard) clone() *shard {
	c := *s
	c.peers, c.accounts = make(map[wgtypes.Key]*modelPeer), make(map[string]*modelAccount)
	for key, p := range s.peers {
		q := *p
		c.peers[key] = &q
	}
	for id, a := range s.accounts {
		b := *a
		c.accounts[id] = &b
	}
	return &c
}

// capped is what has a cap.
type capped struct {
	limit *quota.Cap
	extra *[]topUp
}

// capOf returns the cap of a subject, to be changed; nil if there is no such subject.
func (s *shard) capOf(of subject) *capped {
	if p, ok := s.peers[of.Peer]; ok && of.Account == "" {
		return &capped{&p.spec.DataCap, &p.extra}
	}
	if a, ok := s.accounts[of.Account]; ok {
		return &capped{&a.spec.DataCap, &a.extra}
	}
	return nil
}

// set replaces a cap. What was topped up stays while the period does; see quota.Ledger.SetCap.
func (c *capped) set(limit quota.Cap) {
	if c.limit.Equal(limit) {
		return
	}
	if !c.limit.Period.Equal(limit.Period) || c.limit.Bytes == 0 && c.limit.Period.Kind == quota.None {
		*c.extra = nil
	}
	*c.limit = limit
}

func (s *shard) membersOf(account string) (n int) {
	for _, p := range s.peers {
		if p.spec.Account == account {
			n++
		}
	}
	return n
}

// compare says how what a node has of the shard differs from the model, from which those are gone that were not there; nil if it
// does not.
func (s *shard) compare(c *contents, at span) error {
	var errs []error
	differ := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := 0
	for _, p := range c.Peers {
		if !s.owns(p.PublicKey) {
			continue
		}
		want, ok := s.peers[p.PublicKey]
		if !ok {
			differ("peer %s is there and should not be", p.PublicKey)
			continue
		}
		seen++
		errs = append(errs, want.compare(p, at), compareRoom(s, subject{Peer: p.PublicKey}, c, at))
	}
	if seen < len(s.peers) {
		for key := range s.peers {
			if !slices.ContainsFunc(c.Peers, func(p wgnode.Peer) bool { return p.PublicKey == key }) {
				differ("peer %s is missing", key)
			}
		}
	}
	seen = 0
	for _, a := range c.Accounts {
		if !slices.Contains(s.names, a.ID) {
			continue
		}
		want, ok := s.accounts[a.ID]
		if !ok {
			differ("account %q is there and should not be", a.ID)
			continue
		}
		seen++
		errs = append(errs, want.compare(a), compareRoom(s, subject{Account: a.ID}, c, at))
		if members := s.membersOf(a.ID); a.Peers != members {
			differ("account %q has %d peers, want %d", a.ID, a.Peers, members)
		}
	}
	if seen < len(s.accounts) {
		differ("%d of the accounts %q are there, want %d", seen, s.names, len(s.accounts))
	}
	return errors.Join(errs...)
}

func (p *modelPeer) compare(got wgnode.Peer, at span) error {
	var errs []error
	differ := func(field string, got, want any) {
		errs = append(errs, fmt.Errorf("peer %s: its %s is %v, want %v", p.spec.PublicKey, field, got, want))
	}
	if p.addrs != nil && !slices.Equal(p.addrs, got.Addrs) {
		differ("addresses", got.Addrs, p.addrs)
	}
	if p.sequence != 0 && p.sequence != got.Sequence {
		differ("sequence", got.Sequence, p.sequence)
	}
	if want := p.spec.PresharedKey != (wgtypes.Key{}); got.HasPresharedKey != want {
		differ("having a preshared key", got.HasPresharedKey, want)
	}
	if got.Name != p.spec.Name || got.Account != p.spec.Account || !maps.Equal(got.Labels, p.spec.Labels) {
		differ("name, account and labels", fmt.Sprint(got.Name, got.Account, got.Labels), fmt.Sprint(p.spec.Name, p.spec.Account, p.spec.Labels))
	}
	if got.SpeedLimit != p.spec.SpeedLimit {
		differ("speed limit", got.SpeedLimit, p.spec.SpeedLimit)
	}
	if !got.DataCap.Equal(p.spec.DataCap) {
		differ("data cap", got.DataCap, p.spec.DataCap)
	}
	if !got.ExpiresAt.Equal(p.spec.ExpiresAt) {
		differ("end", got.ExpiresAt, p.spec.ExpiresAt)
	}
	if got.GracePeriod != p.spec.GracePeriod || got.IdleTimeout != p.spec.IdleTimeout {
		differ("grace period and idle timeout", fmt.Sprint(got.GracePeriod, got.IdleTimeout), fmt.Sprint(p.spec.GracePeriod, p.spec.IdleTimeout))
	}
	if got.Expired && !isPast(p.spec.ExpiresAt, at.to) || !got.Expired && isPast(p.spec.ExpiresAt, at.done) {
		differ("being expired", got.Expired, fmt.Sprintf("that as of %v to %v, as it ends at %v", at.done, at.to, p.spec.ExpiresAt))
	}
	return errors.Join(errs...)
}

func (a *modelAccount) compare(got wgnode.Account) error {
	var errs []error
	differ := func(field string, got, want any) {
		errs = append(errs, fmt.Errorf("account %q: its %s is %v, want %v", a.spec.ID, field, got, want))
	}
	if a.sequence != 0 && a.sequence != got.Sequence {
		differ("sequence", got.Sequence, a.sequence)
	}
	if !maps.Equal(got.Labels, a.spec.Labels) {
		differ("labels", got.Labels, a.spec.Labels)
	}
	if got.SpeedLimit != a.spec.SpeedLimit {
		differ("speed limit", got.SpeedLimit, a.spec.SpeedLimit)
	}
	if !got.DataCap.Equal(a.spec.DataCap) {
		differ("data cap", got.DataCap, a.spec.DataCap)
	}
	return errors.Join(errs...)
}

// owns reports whether a public key is one of the shard's.
func (s *shard) owns(public wgtypes.Key) bool {
	return slices.ContainsFunc(s.keys, func(k keyPair) bool { return k.public == public })
}

// present are the shard's subjects that are there, in the same order each time.
func (s *shard) present() (all []subject) {
	for _, k := range s.keys {
		if s.peers[k.public] != nil {
			all = append(all, subject{Peer: k.public})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.accounts)) {
		all = append(all, subject{Account: id})
	}
	return all
}
