package desired

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/keytable"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// ErrInconsistent is returned by Check for a change that does not fit the set: it would give two peers one address, name
// an account that is not there, or remove one that is in use.
var ErrInconsistent = errors.New("desired: the change does not fit the state")

// Set is the whole of what is desired. The zero value is not usable; call [New]. It is not safe for concurrent use.
type Set struct {
	speedLimit shaping.Limit
	policy     isolation.Policy
	accounts   map[string]wgnode.AccountState
	peers      keytable.Map[*entry]
	members    map[string]*membership // those that any peer names
	holder     func(netip.Addr) (wgtypes.Key, bool)
	addrs      map[netip.Addr]wgtypes.Key // nil where somebody else's holder is asked
}

// New returns an empty set: no limit, the default policy, no account and no peer.
func New() *Set {
	s := NewOver(nil)
	s.addrs = make(map[netip.Addr]wgtypes.Key)
	s.holder = func(addr netip.Addr) (wgtypes.Key, bool) {
		key, ok := s.addrs[addr]
		return key, ok
	}
	return s
}

// NewOver is New for an owner who has a table of addresses anyway: when the set is asked to Check, holder must return whose each
// address is by what was recorded, and the set keeps no table of its own.
func NewOver(holder func(netip.Addr) (wgtypes.Key, bool)) *Set {
	return &Set{
		accounts: make(map[string]wgnode.AccountState),
		members:  make(map[string]*membership),
		holder:   holder,
	}
}

// Peer returns the desired state of one peer.
func (s *Set) Peer(key wgtypes.Key) (wgnode.PeerState, bool) {
	e, ok := s.peers.Get(key)
	if !ok {
		return wgnode.PeerState{}, false
	}
	return e.state(), true
}

// Account returns the desired state of one account.
func (s *Set) Account(id string) (wgnode.AccountState, bool) {
	a, ok := s.accounts[id]
	return a, ok
}

// Members returns how many peers name the account.
func (s *Set) Members(id string) int {
	if a := s.members[id]; a != nil {
		return a.peers
	}
	return 0
}

// Policy returns the desired policy.
func (s *Set) Policy() isolation.Policy { return s.policy }

// Len returns the number of peers.
func (s *Set) Len() int { return s.peers.Len() }

// Check reports whether c can be recorded: an error that matches [ErrInconsistent] says why not. It costs the size of c.
func (s *Set) Check(c wgnode.Change) error {
	gone := make(map[wgtypes.Key]bool, len(c.RemovePeers))
	for _, key := range c.RemovePeers {
		gone[key] = true
	}
	set := make(map[wgtypes.Key]bool, len(c.SetPeers))
	for _, p := range c.SetPeers {
		if set[p.PublicKey] {
			return fmt.Errorf("%w: peer %s is set twice", ErrInconsistent, p.PublicKey)
		}
		set[p.PublicKey] = true
	}
	taken := make(map[netip.Addr]wgtypes.Key)
	for _, p := range c.SetPeers {
		if err := s.checkAccount(c, p); err != nil {
			return err
		}
		for _, addr := range p.Addrs {
			if holder, ok := taken[addr]; ok {
				return fmt.Errorf("%w: %s is given to both %s and %s", ErrInconsistent, addr, holder, p.PublicKey)
			}
			taken[addr] = p.PublicKey
			holder, ok := s.holder(addr)
			if ok && holder != p.PublicKey && !gone[holder] && !set[holder] {
				return fmt.Errorf("%w: %s belongs to %s", ErrInconsistent, addr, holder)
			}
		}
	}
	return s.checkRemovedAccounts(c, gone)
}

func (s *Set) checkAccount(c wgnode.Change, p wgnode.PeerState) error {
	if p.Account == "" {
		return nil
	}
	if slices.Contains(c.RemoveAccounts, p.Account) {
		return fmt.Errorf("%w: account %q is removed while peer %s is set in it", ErrInconsistent, p.Account, p.PublicKey)
	}
	if _, ok := s.accounts[p.Account]; ok {
		return nil
	}
	for _, a := range c.SetAccounts {
		if a.ID == p.Account {
			return nil
		}
	}
	return fmt.Errorf("%w: peer %s names account %q, which does not exist", ErrInconsistent, p.PublicKey, p.Account)
}

func (s *Set) checkRemovedAccounts(c wgnode.Change, gone map[wgtypes.Key]bool) error {
	if len(c.RemoveAccounts) == 0 {
		return nil
	}
	left := make(map[string]int, len(c.RemoveAccounts))
	for _, id := range c.RemoveAccounts {
		left[id] = s.Members(id)
	}
	leave := func(key wgtypes.Key) {
		if e, ok := s.peers.Get(key); ok {
			left[e.accountID()]--
		}
	}
	for key := range gone {
		leave(key)
	}
	for _, p := range c.SetPeers {
		if !gone[p.PublicKey] {
			leave(p.PublicKey)
		}
	}
	for _, id := range c.RemoveAccounts {
		if left[id] > 0 {
			return fmt.Errorf("%w: account %q still has %d peers", ErrInconsistent, id, left[id])
		}
	}
	return nil
}

// Inverse returns the change that, recorded after c, makes the set what it is now. Call it before Record. Counters of
// what c removes are those it once started from; a dataplane that has newer ones fills them in.
func (s *Set) Inverse(c wgnode.Change) wgnode.Change {
	var undo wgnode.Change
	if c.SpeedLimit != nil {
		limit := s.speedLimit
		undo.SpeedLimit = &limit
	}
	if c.Policy != nil {
		policy := s.policy
		undo.Policy = &policy
	}
	for _, a := range c.SetAccounts {
		if old, ok := s.accounts[a.ID]; ok {
			undo.SetAccounts = append(undo.SetAccounts, old)
		} else {
			undo.RemoveAccounts = append(undo.RemoveAccounts, a.ID)
		}
	}
	for _, id := range c.RemoveAccounts {
		if old, ok := s.accounts[id]; ok && !slices.ContainsFunc(c.SetAccounts, func(a wgnode.AccountState) bool { return a.ID == id }) {
			undo.SetAccounts = append(undo.SetAccounts, old)
		}
	}
	handled := make(map[wgtypes.Key]bool)
	restore := func(key wgtypes.Key) {
		if handled[key] {
			return
		}
		handled[key] = true
		if old, ok := s.peers.Get(key); ok {
			undo.SetPeers = append(undo.SetPeers, old.state())
		} else {
			undo.RemovePeers = append(undo.RemovePeers, key)
		}
	}
	for _, p := range c.SetPeers {
		restore(p.PublicKey)
	}
	for _, key := range c.RemovePeers {
		restore(key)
	}
	return undo
}

// Record makes c part of the set. The change must have passed Check.
func (s *Set) Record(c wgnode.Change) {
	if c.SpeedLimit != nil {
		s.speedLimit = *c.SpeedLimit
	}
	if c.Policy != nil {
		s.policy = *c.Policy
	}
	for _, a := range c.SetAccounts {
		s.accounts[a.ID] = a
	}
	for _, key := range c.RemovePeers {
		s.drop(key)
	}
	for _, p := range c.SetPeers {
		s.drop(p.PublicKey)
	}
	for _, p := range c.SetPeers {
		s.peers.Set(newEntry(&p, s.join(p.Account)))
		if s.addrs != nil {
			for _, addr := range p.Addrs {
				s.addrs[addr] = p.PublicKey
			}
		}
	}
	for _, id := range c.RemoveAccounts {
		delete(s.accounts, id)
	}
}

// join counts one peer more of an account.
func (s *Set) join(id string) *membership {
	if id == "" {
		return nil
	}
	a := s.members[id]
	if a == nil {
		a = &membership{id: id}
		s.members[id] = a
	}
	a.peers++
	return a
}

func (s *Set) drop(key wgtypes.Key) {
	old, ok := s.peers.Get(key)
	if !ok {
		return
	}
	s.peers.Delete(key)
	for _, addr := range old.addrs {
		delete(s.addrs, addr)
	}
	if a := old.account; a != nil {
		if a.peers--; a.peers == 0 {
			delete(s.members, a.id)
		}
	}
}

// State returns the set as a state, in the order of account names and keys.
func (s *Set) State() wgnode.State {
	peers := make([]wgnode.PeerState, 0, s.peers.Len())
	for e := range s.peers.All() {
		peers = append(peers, e.state())
	}
	slices.SortFunc(peers, func(a, b wgnode.PeerState) int { return bytes.Compare(a.PublicKey[:], b.PublicKey[:]) })
	return wgnode.State{
		SpeedLimit: s.speedLimit,
		Policy:     s.policy,
		Accounts:   slices.SortedFunc(maps.Values(s.accounts), func(a, b wgnode.AccountState) int { return cmp.Compare(a.ID, b.ID) }),
		Peers:      peers,
	}
}
