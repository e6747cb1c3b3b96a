package kernel

import (
	"maps"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// Whom a change concerns, and how.

// keys are the peers that the change concerns.
func (s *step) keys() []wgtypes.Key {
	return slices.SortedFunc(maps.Keys(s.peers), func(a, b wgtypes.Key) int { return slices.Compare(a[:], b[:]) })
}

// leaving are the peers that there will not be any more.
func (s *step) leaving() (keys []wgtypes.Key) {
	for _, key := range s.keys() {
		if s.peers[key] == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// strangers are the peers that there were not before.
func (s *step) strangers() (keys []wgtypes.Key) {
	for _, key := range s.keys() {
		if s.dp.records.peers[key] == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// entering are the peers of which the device has to be told something.
func (s *step) entering() (peers []wgdev.Peer) {
	for _, key := range s.keys() {
		old, next := s.dp.records.peers[key], s.peers[key]
		if next != nil && (old == nil || !samePeer(old.device(), next.device())) {
			peers = append(peers, next.device())
		}
	}
	return peers
}

// former are peers as the device knew them.
func (s *step) former(keys []wgtypes.Key) (peers []wgdev.Peer) {
	for _, key := range keys {
		if p := s.dp.records.peers[key]; p != nil {
			peers = append(peers, p.device())
		}
	}
	return peers
}

// taken are addresses that come to a peer, and were another's not long ago.
func (s *step) taken() (addrs []netip.Addr) {
	former := make(map[netip.Addr]wgtypes.Key)
	for key := range s.peers {
		if old := s.dp.records.peers[key]; old != nil {
			for _, addr := range old.state.Addrs {
				former[addr] = key
			}
		}
	}
	for key, next := range s.peers {
		if next == nil {
			continue
		}
		for _, addr := range next.state.Addrs {
			if owner, ok := former[addr]; s.dp.vacated[addr] || ok && owner != key {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// vacated are the addresses that were a peer's and are not that peer's any more.
func (s *step) vacated() (addrs []netip.Addr) {
	for key, old := range s.before {
		for _, addr := range old.state.Addrs {
			if next := s.peers[key]; next == nil || !slices.Contains(next.state.Addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}
