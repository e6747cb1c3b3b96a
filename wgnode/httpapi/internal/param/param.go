// Package param has the parameters that routes of package httpapi share. It is a package for their names alone: what embeds them
// shows them to reflection only if they are exported.
package param

import (
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// Peer is in the path of a peer's routes.
type Peer struct {
	ID api.Key `path:"id" doc:"The peer's id or its public key; in the standard alphabet of base64, percent-encoded."`
}

// Key is the peer's public key.
func (p Peer) Key() wgtypes.Key { return wgtypes.Key(p.ID) }

// Subject is the peer.
func (p Peer) Subject() wgnode.Subject { return wgnode.OfPeer(p.Key()) }

// Account is in the path of an account's routes.
type Account struct {
	ID string `path:"id" minLength:"1" maxLength:"128" doc:"The account's id, percent-encoded." example:"customer-17"`
}

// Subject is the account.
func (a Account) Subject() wgnode.Subject { return wgnode.OfAccount(a.ID) }

// Conditions are a request's about what is there (RFC 9110, section 13.1).
type Conditions struct {
	IfMatch     string `header:"If-Match" doc:"Entity tags, one of which what is there must have, or * for anything; else the answer is 412."`
	IfNoneMatch string `header:"If-None-Match" doc:"Entity tags that what is there must not have, or * for none; else the answer to GET is 304, and to others 412."`
}

// Page chooses a part of a list.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many at most."`
	Cursor string `query:"cursor" maxLength:"400" doc:"next of the page before. What is there throughout is on one page, whatever is added and removed meanwhile."`
}

// QR asks for a QR code.
type QR struct {
	QR string `query:"qr" enum:"none,svg,png" default:"none" doc:"The configuration as a QR code, too; it needs the private key."`
}
