package crashtest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
)

// want is the condition that an operation must end with, unless the caller loses patience.
func (s *shard) want(o operation) string {
	if want := operations[o.Kind].want; want != nil {
		return want(s, o)
	}
	return made
}

// after is the shard as it is when the operation was made, or refused for what is wrong with it.
func (s *shard) after(o operation) *shard {
	next := s.clone()
	if apply := operations[o.Kind].apply; apply != nil && s.want(o) == made {
		apply(next, o)
	}
	return next
}

func wantAddPeers(s *shard, o operation) string {
	for _, spec := range o.Peers {
		if spec.Account != "" && s.accounts[spec.Account] == nil {
			return invalid
		}
	}
	for _, spec := range o.Peers {
		if p, ok := s.peers[spec.PublicKey]; ok && !reflect.DeepEqual(p.spec, spec) {
			return exists
		}
	}
	return made
}

func applyAddPeers(s *shard, o operation) {
	for _, spec := range o.Peers {
		if s.peers[spec.PublicKey] == nil {
			s.peers[spec.PublicKey] = &modelPeer{spec: spec}
		}
	}
}

func wantPeers(s *shard, o operation) string {
	for _, key := range o.Keys {
		if s.peers[key] == nil {
			return notFound
		}
	}
	return made
}

func applyRemovePeers(s *shard, o operation) {
	for _, key := range o.Keys {
		delete(s.peers, key)
	}
}

func applyPutAccount(s *shard, o operation) {
	a := s.accounts[o.Account.ID]
	if a == nil {
		s.accounts[o.Account.ID] = &modelAccount{spec: o.Account}
		return
	}
	s.capOf(subject{Account: o.Account.ID}).set(o.Account.DataCap)
	a.spec = o.Account
}

func wantRemoveAccount(s *shard, o operation) string {
	switch {
	case s.accounts[o.Account.ID] == nil:
		return notFound
	case s.membersOf(o.Account.ID) > 0:
		return inUse
	}
	return made
}

func wantSubject(s *shard, o operation) string {
	if s.capOf(o.Subject) == nil {
		return notFound
	}
	return made
}

func wantTopUp(s *shard, o operation) string {
	if c := s.capOf(o.Subject); c != nil && c.limit.Bytes == 0 {
		return invalid
	}
	return wantSubject(s, o)
}

func applySpeedLimit(s *shard, o operation) {
	if p := s.peers[o.Subject.Peer]; p != nil {
		p.spec.SpeedLimit = o.Limit
		return
	}
	s.accounts[o.Subject.Account].spec.SpeedLimit = o.Limit
}

// check checks what a call has answered to a caller with this shard, which is as it was before.
func (s *shard) check(o operation, a answer) error {
	switch want := s.want(o); {
	case o.Patience > 0 && a.Condition == impatient:
		return nil
	case a.Condition != want:
		return fmt.Errorf("%s ended with %q, want %q: %s", describe(o), a.Condition, want, a.Error)
	case want != made:
		return nil
	}
	if len(a.Added) != len(o.Peers) {
		return fmt.Errorf("%s answered about %d peers", describe(o), len(a.Added))
	}
	for i, added := range a.Added {
		if _, there := s.peers[o.Peers[i].PublicKey]; added.Created == there {
			return fmt.Errorf("%s says created=%v of peer %s, which was there: %v", describe(o), added.Created, added.PublicKey, there)
		}
		want := modelPeer{spec: o.Peers[i]}
		if err := want.compare(added.Peer); err != nil {
			return fmt.Errorf("%s answered: %w", describe(o), err)
		}
	}
	return nil
}

// describe says in a line what was asked.
func describe(o operation) string {
	text := o.Kind
	for _, p := range o.Peers {
		text += " " + p.PublicKey.String()
	}
	for _, key := range o.Keys {
		text += " " + key.String()
	}
	if o.Subject != (subject{}) {
		text += " of " + o.Subject.String()
	}
	return text + o.Account.ID
}

// draw makes an operation for a shard. Some callers have little patience.
func draw(r *rand.Rand, s *shard) operation {
	for {
		name := kinds[r.IntN(len(kinds))]
		o, ok := operations[name].draw(r, s)
		if !ok {
			continue
		}
		o.Kind = name
		if r.IntN(20) == 0 {
			o.Patience = microseconds(r, 3000)
		}
		return o
	}
}

// kinds has each kind that is drawn as often as its weight says.
var kinds = weighted()

func weighted() (all []string) {
	for name, k := range operations {
		all = append(all, slices.Repeat([]string{name}, k.weight)...)
	}
	slices.Sort(all)
	return all
}

// removed are the peers that an operation takes away, if it is made.
func (s *shard) removed(o operation) (peers []*modelPeer) {
	next := s.after(o)
	for key, p := range s.peers {
		if next.peers[key] == nil {
			peers = append(peers, p)
		}
	}
	return peers
}
