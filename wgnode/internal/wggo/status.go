package wggo

import (
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// atOnce is how many peers are read under one lock.
const atOnce = 1000

// reports are what devices say, each of the peers that are in it.
type reports map[wgtypes.Key][]reported

type reported struct {
	lane *lane
	PeerStatus
}

// Status reads the private keys and all peers, those that are in no device as they were when they left.
func (d *Device) Status() (Status, error) {
	d.view.RLock()
	defer d.view.RUnlock()
	var all Status
	said := make(reports)
	for _, l := range d.lanes() {
		s, err := l.report()
		if err != nil {
			return Status{}, err
		}
		all.ListenPort = max(all.ListenPort, s.ListenPort)
		if d.guest != nil && l.key == d.former {
			all.FormerKey = s.PrivateKey
		} else {
			all.PrivateKey = s.PrivateKey
		}
		for _, p := range s.Peers {
			said[p.PublicKey] = append(said[p.PublicKey], reported{l, p})
		}
	}
	entries := d.reg.all()
	all.Peers = make([]PeerStatus, 0, len(entries))
	for chunk := range slices.Chunk(entries, atOnce) {
		all.Peers = d.describe(all.Peers, chunk, said)
	}
	all.TurnedAway = d.bouncer.turned.Load()
	d.reg.mu.RLock()
	defer d.reg.mu.RUnlock()
	all.Active = d.reg.active
	return all, nil
}

// describe appends what is known of peers.
func (d *Device) describe(all []PeerStatus, entries []*entry, said reports) []PeerStatus {
	d.reg.mu.RLock()
	defer d.reg.mu.RUnlock()
	for _, e := range entries {
		if e.is(gone) {
			continue
		}
		s := PeerStatus{Peer: e.told()}
		if e.was != nil {
			s.ReceivedBytes, s.SentBytes = e.was.received, e.was.sent
			for _, v := range e.was.visits {
				if l := byID(d.reg.live, v.lane); l != nil {
					s.meet(PeerStatus{LastHandshake: v.at(), Endpoint: v.endpoint}, d.isFormer(l))
				}
			}
		}
		for _, r := range said[e.key] {
			if p := e.in(r.lane); p != nil {
				s.ReceivedBytes, s.SentBytes = s.ReceivedBytes+r.ReceivedBytes+p.opened, s.SentBytes+r.SentBytes
				s.meet(r.PeerStatus, d.isFormer(r.lane))
			}
		}
		all = append(all, s)
	}
	return all
}

func (d *Device) isFormer(l *lane) bool { return d.guest != nil && l.key == d.former }

// meet has the last handshake and the endpoint be those of the other, if that is later, or there are none.
func (s *PeerStatus) meet(other PeerStatus, former bool) {
	if other.LastHandshake.After(s.LastHandshake) || s.LastHandshake.IsZero() && other.Endpoint.IsValid() {
		s.LastHandshake, s.Endpoint = other.LastHandshake, other.Endpoint
		s.FormerKey = former && !s.LastHandshake.IsZero()
	}
}

// at is when the last handshake was, zero if there was none.
func (v visit) at() time.Time {
	if v.shaken == 0 {
		return time.Time{}
	}
	return time.Unix(0, v.shaken)
}
