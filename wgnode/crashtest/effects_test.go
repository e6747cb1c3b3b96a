package crashtest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"
)

// want is the condition that an operation must end with at a time, unless the caller loses patience.
func (s *shard) want(o operation, at time.Time) string {
	if want := operations[o.Kind].want; want != nil {
		return want(s, o, at)
	}
	return made
}

// after is the shard as it is when the operation was made, or refused for what is wrong with it.
func (s *shard) after(o operation, at span) *shard {
	next := s.clone()
	if apply := operations[o.Kind].apply; apply != nil && s.want(o, at.from) == made {
		apply(next, o, at)
	}
	return next
}

func wantAddPeers(s *shard, o operation, at time.Time) string {
	for _, spec := range o.Peers {
		p := s.peers[spec.PublicKey]
		late := isPast(spec.ExpiresAt, at) && (p == nil || !p.spec.ExpiresAt.Equal(spec.ExpiresAt)) // else it may be in its grace period
		if late || spec.Account != "" && s.accounts[spec.Account] == nil {
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

func applyAddPeers(s *shard, o operation, _ span) {
	for _, spec := range o.Peers {
		if s.peers[spec.PublicKey] == nil {
			s.peers[spec.PublicKey] = &modelPeer{spec: spec}
		}
	}
}

func wantPeers(s *shard, o operation, _ time.Time) string {
	for _, key := range o.Keys {
		if s.peers[key] == nil {
			return notFound
		}
	}
	return made
}

func applyRemovePeers(s *shard, o operation, _ span) {
	for _, key := range o.Keys {
		delete(s.peers, key)
	}
}

func applyPutAccount(s *shard, o operation, _ span) {
	a := s.accounts[o.Account.ID]
	if a == nil {
		s.accounts[o.Account.ID] = &modelAccount{spec: o.Account}
		return
	}
	s.capOf(subject{Account: o.Account.ID}).set(o.Account.DataCap)
	a.spec = o.Account
}

func wantRemoveAccount(s *shard, o operation, _ time.Time) string {
	switch {
	case s.accounts[o.Account.ID] == nil:
		return notFound
	case s.membersOf(o.Account.ID) > 0:
		return inUse
	}
	return made
}

func wantSubject(s *shard, o operation, _ time.Time) string {
	if s.capOf(o.Subject) == nil {
		return notFound
	}
	return made
}

func wantTopUp(s *shard, o operation, at time.Time) string {
	if c := s.capOf(o.Subject); c != nil && c.limit.Bytes == 0 {
		return invalid
	}
	return wantSubject(s, o, at)
}

func applySpeedLimit(s *shard, o operation, _ span) {
	if p := s.peers[o.Subject.Peer]; p != nil {
		p.spec.SpeedLimit = o.Limit
		return
	}
	s.accounts[o.Subject.Account].spec.SpeedLimit = o.Limit
}

// settle checks what a call has answered to a caller with this shard, which is as it was before, and returns the shard after it.
// Of the peers that may be gone those are without whom alone the answer is right. Where it leaves open which, it leaves all open.
func (s *shard) settle(o operation, a answer, at span) (*shard, error) {
	var fits *shard
	var first error
	for v := range s.variants(at.to) {
		if fits != nil && len(v.peers) < len(fits.peers) {
			break
		}
		switch err := v.check(o, a, at); {
		case err == nil && fits != nil:
			fits = s
		case err == nil:
			fits = v
		case first == nil:
			first = err
		}
		if fits == s {
			break
		}
	}
	switch {
	case fits == nil:
		return nil, first
	case a.Condition == made:
		return fits.after(o, at), nil
	}
	return fits.clone(), nil
}

// check checks what a call has answered if this was the shard.
func (s *shard) check(o operation, a answer, at span) error {
	switch soon, late := s.want(o, at.from), s.want(o, at.to); {
	case o.Patience > 0 && a.Condition == impatient:
		return nil
	case a.Condition != soon && a.Condition != late:
		return fmt.Errorf("%s ended with %q, want %q or %q: %s", describe(o), a.Condition, soon, late, a.Error)
	case a.Condition != made:
		return nil
	}
	if id := a.Account.ID; id != "" && a.Account.Peers != s.membersOf(id) {
		return fmt.Errorf("%s answered that it has %d peers, want %d", describe(o), a.Account.Peers, s.membersOf(id))
	}
	if len(a.Added) != len(o.Peers) {
		return fmt.Errorf("%s answered about %d peers", describe(o), len(a.Added))
	}
	for i, added := range a.Added {
		if _, there := s.peers[o.Peers[i].PublicKey]; added.Created == there {
			return fmt.Errorf("%s says created=%v of peer %s, which was there: %v", describe(o), added.Created, added.PublicKey, there)
		}
		want := modelPeer{spec: o.Peers[i]}
		if err := want.compare(added.Peer, at); err != nil {
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
func (s *shard) removed(o operation, at span) (peers []*modelPeer) {
	next := s.after(o, at)
	for key, p := range s.peers {
		if next.peers[key] == nil {
			peers = append(peers, p)
		}
	}
	return peers
}
