package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/waylume/waylume/registry"
)

var _ registry.Registry = (*Fleet)(nil)

// Register implements [registry.Registry].
func (f *Fleet) Register(ctx context.Context, r registry.Registration) (registry.Registered, error) {
	if err := ctx.Err(); err != nil {
		return registry.Registered{}, err
	}
	if err := r.Validate(); err != nil {
		return registry.Registered{}, err
	}
	r = cloneRegistration(r.WithDefaults())
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	s := f.names[r.Name]
	switch {
	case s == nil:
		s = &server{placements: make(map[registry.Key][]*placement)}
		s.ID = registry.ID(f.cfg.NewID())
		f.servers[s.ID] = s
		f.names[r.Name] = s
	case s.PublicKey != r.PublicKey && !s.gone && s.Fresh(now, 0):
		return registry.Registered{}, fmt.Errorf("%w: %s", registry.ErrNameTaken, r.Name)
	}
	s.Registration = r
	s.Status = registry.Status{}
	s.Incarnation++
	s.sequence = 0
	s.gone = false
	s.RegisteredAt, s.HeartbeatAt = now, now
	f.changeLocked(s)
	return registry.Registered{Server: s.ID, Incarnation: s.Incarnation, UsageSequence: s.usageSequence}, nil
}

// Heartbeat implements [registry.Registry].
func (f *Fleet) Heartbeat(ctx context.Context, h registry.Heartbeat) (registry.Answer, error) {
	if err := ctx.Err(); err != nil {
		return registry.Answer{}, err
	}
	if err := h.Validate(); err != nil {
		return registry.Answer{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.presentLocked(h.Server)
	switch {
	case err != nil:
		return registry.Answer{}, err
	case h.Incarnation < s.Incarnation:
		return registry.Answer{}, fmt.Errorf("%w: %s is in its incarnation %d", registry.ErrSuperseded, s.Name, s.Incarnation)
	case h.Incarnation > s.Incarnation: // the registry has lost a registration
		return registry.Answer{}, fmt.Errorf("%w: incarnation %d of %s", registry.ErrUnknownServer, h.Incarnation, s.Name)
	}
	now := f.now()
	if h.Sequence > s.sequence {
		s.sequence = h.Sequence
		s.Status = cloneStatus(h.Status)
		s.nodeDraining = h.Draining
		s.HeartbeatAt = now
		s.acknowledgeLocked(h.Released)
		f.changeLocked(s)
	}
	answer := registry.Answer{Now: now, Interval: int(f.cfg.Interval / time.Second), Draining: s.fleetDraining}
	rest := after(s.releases, h.Released)
	answer.Releases = slices.Clone(rest[:min(len(rest), registry.MaxReleases)])
	answer.More = len(rest) > registry.MaxReleases
	if n := len(answer.Releases); n > 0 {
		s.toldRelease = max(s.toldRelease, answer.Releases[n-1].Sequence)
	}
	return answer, nil
}

// acknowledgeLocked forgets what the node has released. If it says that it has released what it was never told, this fleet is not
// the one that told it, but one that was before: its numbers mean other releases, and all that are left get new ones.
func (s *server) acknowledgeLocked(released int64) {
	if released <= s.toldRelease {
		s.releases = slices.Clone(after(s.releases, released))
		return
	}
	s.lastRelease = max(s.lastRelease, released)
	for i := range s.releases {
		s.lastRelease++
		s.releases[i].Sequence = s.lastRelease
	}
	s.toldRelease = max(s.toldRelease, released)
}

// Drain implements [registry.Registry].
func (f *Fleet) Drain(ctx context.Context, id registry.ID, draining bool) error {
	return f.drain(ctx, id, func(s *server) { s.nodeDraining = draining })
}

// SetDraining says what whoever runs the fleet wants: the node learns it with its next heartbeat.
func (f *Fleet) SetDraining(ctx context.Context, id registry.ID, draining bool) error {
	return f.drain(ctx, id, func(s *server) { s.fleetDraining = draining })
}

func (f *Fleet) drain(ctx context.Context, id registry.ID, set func(*server)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := id.Validate(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.presentLocked(id)
	if err != nil {
		return err
	}
	set(s)
	f.changeLocked(s)
	return nil
}

// Deregister implements [registry.Registry].
func (f *Fleet) Deregister(ctx context.Context, id registry.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := id.Validate(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.servers[id]; s != nil && !s.gone {
		s.gone = true
		s.HeartbeatAt = time.Time{}
		f.changeLocked(s)
	}
	return nil
}

// ReportUsage implements [registry.Registry].
func (f *Fleet) ReportUsage(ctx context.Context, r registry.UsageReport) (registry.UsageReceipt, error) {
	if err := ctx.Err(); err != nil {
		return registry.UsageReceipt{}, err
	}
	if err := r.Validate(); err != nil {
		return registry.UsageReceipt{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.servers[r.Server] // a server that has deregistered may still tell what its peers used
	switch {
	case s == nil:
		return registry.UsageReceipt{}, fmt.Errorf("%w: %s", registry.ErrUnknownServer, r.Server)
	case r.Sequence > s.usageSequence+1:
		return registry.UsageReceipt{}, fmt.Errorf("%w: %s has reported up to %d, and sends %d", registry.ErrGap, s.Name, s.usageSequence, r.Sequence)
	case r.Sequence == s.usageSequence+1:
		for _, u := range r.Usages {
			f.addLocked(s, u, r.To)
		}
		s.usageSequence = r.Sequence
	}
	return registry.UsageReceipt{Sequence: s.usageSequence}, nil
}

// addLocked finds whose usage it is: that of the key's latest placement on the server up to the time, else of the earliest.
func (f *Fleet) addLocked(s *server, u registry.PeerUsage, to time.Time) {
	placements := s.placements[u.PublicKey]
	if len(placements) == 0 {
		key := unmatchedKey{s.ID, u.PublicKey}
		sum := f.unmatched[key]
		f.unmatched[key] = registry.PeerUsage{PublicKey: u.PublicKey, Download: sum.Download + u.Download, Upload: sum.Upload + u.Upload}
		return
	}
	later := sort.Search(len(placements), func(i int) bool { return placements[i].placedAt.After(to) })
	owner := placements[max(0, later-1)].session
	owner.Download += u.Download
	owner.Upload += u.Upload
}

// Unmatched returns the usage that servers have reported of keys which never were a session's there, summed up for each key.
func (f *Fleet) Unmatched() map[registry.ID][]registry.PeerUsage {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[registry.ID][]registry.PeerUsage)
	for key, u := range maps.All(f.unmatched) {
		all[key.server] = append(all[key.server], u)
	}
	return all
}

// presentLocked returns a server that has registered and is there.
func (f *Fleet) presentLocked(id registry.ID) (*server, error) {
	s := f.servers[id]
	if s == nil || s.gone {
		return nil, fmt.Errorf("%w: %s", registry.ErrUnknownServer, id)
	}
	return s, nil
}

// after returns the releases behind a sequence.
func after(releases []registry.Release, sequence int64) []registry.Release {
	i := sort.Search(len(releases), func(i int) bool { return releases[i].Sequence > sequence })
	return releases[i:]
}
