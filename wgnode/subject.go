package wgnode

import (
	"strconv"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Subject names what has a speed limit, a data cap and usage: a peer or an account. The zero value names nothing.
type Subject struct {
	peer    wgtypes.Key
	account string
}

// OfPeer names the peer with this public key.
func OfPeer(key wgtypes.Key) Subject { return Subject{peer: key} }

// OfAccount names the account with this ID.
func OfAccount(id string) Subject { return Subject{account: id} }

// Peer returns the peer's public key, and whether the subject is a peer.
func (s Subject) Peer() (wgtypes.Key, bool) { return s.peer, s.peer != wgtypes.Key{} }

// Account returns the account's ID, and whether the subject is an account.
func (s Subject) Account() (string, bool) { return s.account, s.account != "" }

// String is `peer KEY`, `account "ID"`, or "nothing" for the zero value.
func (s Subject) String() string {
	if key, ok := s.Peer(); ok {
		return "peer " + key.String()
	}
	if id, ok := s.Account(); ok {
		return "account " + strconv.Quote(id)
	}
	return "nothing"
}
