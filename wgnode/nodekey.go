package wgnode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

// keyRecord is what the store knows of the node's key: the key itself, or whose it is when a file has it.
type keyRecord struct {
	private, public wgtypes.Key
	// next is set while a rotation is under way: the file has the key of public, or of next.
	next wgtypes.Key
}

type nodeKeyJSON struct {
	version
	PrivateKey string `json:"private_key,omitempty"`
	PublicKey  string `json:"public_key,omitempty"`
	NextKey    string `json:"next_public_key,omitempty"`
}

func (r keyRecord) encode() (Record, error) {
	if r.private != (wgtypes.Key{}) {
		return encode(RecordNode, nodeKeyRecord, nodeKeyJSON{version: version{firstVersion}, PrivateKey: r.private.String()})
	}
	v := nodeKeyJSON{version: version{3}, PublicKey: r.public.String()}
	if r.next != (wgtypes.Key{}) {
		v.NextKey = r.next.String()
	}
	return encode(RecordNode, nodeKeyRecord, v)
}

func decodeNodeKey(r Record) (keyRecord, error) {
	var v nodeKeyJSON
	if err := decode(r, &v); err != nil {
		return keyRecord{}, err
	}
	var k keyRecord
	var err error
	switch {
	case (v.PrivateKey == "") == (v.PublicKey == ""):
		err = errors.New("it must have either a private key or a public one")
	case v.PrivateKey != "":
		k.private, err = parseKey(v.PrivateKey)
	default:
		k.public, err = parseKey(v.PublicKey)
	}
	if err != nil {
		return keyRecord{}, err
	}
	if k.next, err = parseOptionalKey(v.NextKey); err != nil {
		return keyRecord{}, fmt.Errorf("next_public_key: %w", err)
	}
	return k, nil
}

// permits reports whether peers may know the node by a public key.
func (r keyRecord) permits(public wgtypes.Key) bool {
	known := r.known()
	return known == (wgtypes.Key{}) || public == known || public == r.next
}

// known is the public key that peers know the node by; zero: none that the store knows of.
func (r keyRecord) known() wgtypes.Key {
	if r.private != (wgtypes.Key{}) {
		return r.private.PublicKey()
	}
	return r.public
}

// words says what peers know the node by.
func (r keyRecord) words() string {
	if known := r.known(); known != (wgtypes.Key{}) {
		return "the key " + known.String()
	}
	return "a key that the store has no record of"
}

// keyChoice is the key that a start is made with, and what there is to do about it before.
type keyChoice struct {
	private wgtypes.Key
	// file is where the key is to be written; empty: it is in place.
	file           string
	batch, inverse []Mutation
}

// write puts the key into its file: before the store forgets it, so that there is no moment at which nobody has it.
func (c keyChoice) write(context.Context) error {
	if c.file == "" {
		return nil
	}
	return keyfile.Create(c.file, c.private)
}

// chooseKey says which key the node has: the configured one, which the store does not learn of; else that of the file; else that
// of the store. Where nobody knows one, it makes one.
func (n *Node) chooseKey(k *kept) (keyChoice, error) {
	var c keyChoice
	var err error
	switch {
	case n.cfg.PrivateKey != (wgtypes.Key{}):
		c.private = n.cfg.PrivateKey
	case n.cfg.PrivateKeyFile != "":
		c, err = n.keyOfFile(k)
	default:
		c, err = n.keyOfStore(k)
	}
	c.private = clamp(c.private)
	return c, err
}

func (n *Node) keyOfStore(k *kept) (c keyChoice, err error) {
	if k.key.private != (wgtypes.Key{}) {
		return keyChoice{private: k.key.private}, nil
	}
	if !n.mayChange(k) {
		return keyChoice{}, fmt.Errorf("%w: the store does not have it, and %d peers know this node by %s: give the key as "+
			"Config.PrivateKey, its file as Config.PrivateKeyFile, or set Config.AcceptNewKey to begin with a new key, with which all "+
			"clients need new configurations", ErrKeyMismatch, len(k.peers), k.key.words())
	}
	if c.private, err = wgtypes.GeneratePrivateKey(); err != nil {
		return keyChoice{}, err
	}
	record, err := keyRecord{private: c.private}.encode()
	if err != nil {
		return keyChoice{}, err
	}
	c.batch, c.inverse = []Mutation{put(record)}, []Mutation{erase(record)}
	return c, nil
}

// keyOfFile is chooseKey for a key in a file. What it does to the store is not undone when the start fails: the file is written
// by then, and the two agree.
func (n *Node) keyOfFile(k *kept) (c keyChoice, err error) {
	path := n.cfg.PrivateKeyFile
	c.private, err = keyfile.Read(path)
	absent := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !absent:
		return keyChoice{}, err
	case !absent:
		if public := c.private.PublicKey(); !k.key.permits(public) && !n.mayChange(k) {
			return keyChoice{}, n.otherKey(k, public)
		}
	case k.key.private != (wgtypes.Key{}):
		c.private, c.file = k.key.private, path
	case len(k.peers) > 0 && !n.mayChange(k):
		return keyChoice{}, n.noKey(k)
	default:
		c.file = path
		if c.private, err = wgtypes.GeneratePrivateKey(); err != nil {
			return keyChoice{}, err
		}
	}
	if now := (keyRecord{public: c.private.PublicKey()}); now != k.key {
		record, err := now.encode()
		if err != nil {
			return keyChoice{}, err
		}
		c.batch = []Mutation{put(record)}
	}
	return c, nil
}

// mayChange reports whether the node may have another key than the store knows: nobody is cut off, or that is wanted.
func (n *Node) mayChange(k *kept) bool { return len(k.peers) == 0 || n.cfg.AcceptNewKey }

func (n *Node) noKey(k *kept) error {
	return fmt.Errorf("%w: there is no key file %s, and %d peers know this node by %s: put the file back (a backup of the state "+
		"does not have it), or set Config.AcceptNewKey to begin with a new key, with which all clients need new configurations",
		ErrKeyMismatch, n.cfg.PrivateKeyFile, len(k.peers), k.key.words())
}

// otherKey is the error for two keys. Neither wins by itself: the peers know the store's, and the file is what a person gave.
func (n *Node) otherKey(k *kept, public wgtypes.Key) error {
	remedy := "put the file of that key back"
	if k.key.private != (wgtypes.Key{}) {
		remedy = "move the file away, and the store's key is put there"
	}
	return fmt.Errorf("%w: key file %s has the key of %s, and %d peers know this node by %s: %s, or set Config.AcceptNewKey to go on "+
		"with the file's, with which all clients need new configurations (but those that got them since this state was saved)",
		ErrKeyMismatch, n.cfg.PrivateKeyFile, public, len(k.peers), k.key.known(), remedy)
}

// clamp sets the bits of a private key that have one value in all of them (RFC 7748, section 5), as devices do with what they are
// given. The public key is the same.
func clamp(key wgtypes.Key) wgtypes.Key {
	key[0] &= 248
	key[31] = key[31]&127 | 64
	return key
}
