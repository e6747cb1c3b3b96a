package wgnode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/keyfile"
)

// keyChoice is the key that a start is made with, and what there is to do about it before.
type keyChoice struct {
	private wgtypes.Key
	// base is what the store is to know of it, but for the former one.
	base    keyRecord
	overlap overlap
	// ended is the former public key of an overlap that is over; zero: there was none.
	ended wgtypes.Key
	// unserved says why nobody is served with the former key although its overlap is not over; nil: they are.
	unserved error
	// file is where the key is to be written, and formerFile where the former one; empty: it is in place.
	file, formerFile string
	batch, inverse   []Mutation
}

// write puts the keys into their files: before the store forgets them, so that there is no moment at which nobody has one.
func (c keyChoice) write(context.Context) error {
	if c.file != "" {
		if err := keyfile.Create(c.file, c.private); err != nil {
			return err
		}
	}
	if c.formerFile != "" {
		return keyfile.Create(c.formerFile, c.overlap.private)
	}
	return nil
}

// chooseKey says which key the node has: the configured one, which the store does not learn of; else that of the file; else that
// of the store. Where nobody knows one, it makes one. With it comes the former key, while it is served.
func (n *Node) chooseKey(k *kept, now time.Time) (keyChoice, error) {
	var c keyChoice
	var err error
	switch {
	case n.cfg.PrivateKey != (wgtypes.Key{}):
		c = keyChoice{private: n.cfg.PrivateKey, base: k.key.without()}
	case n.cfg.PrivateKeyFile != "":
		c, err = n.keyOfFile(k)
	default:
		c, err = n.keyOfStore(k)
	}
	if err != nil {
		return c, err
	}
	c.private = clamp(c.private)
	if err := n.chooseFormer(k, &c, now); err != nil {
		return c, err
	}
	if record := c.base.with(c.overlap); record != k.key {
		r, err := record.encode()
		if err != nil {
			return c, err
		}
		c.batch = []Mutation{put(r)}
	}
	return c, nil
}

func (n *Node) keyOfStore(k *kept) (c keyChoice, err error) {
	if k.key.private != (wgtypes.Key{}) {
		return keyChoice{private: k.key.private, base: k.key.without()}, nil
	}
	if !n.mayChange(k) {
		return keyChoice{}, fmt.Errorf("%w: the store does not have it, and %d peers know this node by %s: give the key as "+
			"Config.PrivateKey, its file as Config.PrivateKeyFile, or set Config.AcceptNewKey to begin with a new key, with which all "+
			"clients need new configurations", ErrKeyMismatch, len(k.peers), k.key.words())
	}
	if c.private, err = wgtypes.GeneratePrivateKey(); err != nil {
		return keyChoice{}, err
	}
	c.base = keyRecord{private: c.private}
	c.inverse = []Mutation{erase(Record{Kind: RecordNode, Key: nodeKeyRecord})}
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
	c.base = keyRecord{public: c.private.PublicKey()}
	return c, nil
}

// chooseFormer says what becomes of the overlap that the store knows of. That the former key cannot be had is no reason not to
// start: those who know the node's own key do not need it.
func (n *Node) chooseFormer(k *kept, c *keyChoice, now time.Time) error {
	former := k.key.former
	switch {
	case former == (formerKey{}):
		n.lookForStray()
		return nil
	case n.cfg.PrivateKeyFile == "" && k.key.private == (wgtypes.Key{}):
		return n.leaveFormer(k, c)
	}
	public := c.private.PublicKey()
	c.overlap = overlap{public: former.public, private: former.private, until: former.until}
	if !k.key.overlaps(public, now) {
		c.overlap.over, c.overlap.private = true, wgtypes.Key{}
		if former.public != public { // else the rotation that began it is undone
			c.ended = former.public
		}
		return nil
	}
	if n.cfg.PrivateKeyFile != "" {
		if err := n.readFormer(c, former); err != nil {
			return err
		}
	}
	if _, ok := k.peers[former.public]; ok {
		c.unserved = errors.New("it is stored as a peer's too: remove that peer, and start the node anew")
	}
	if _, ok := n.cfg.Dataplane.(KeyChanger); !ok {
		c.unserved = errors.New("the dataplane could not be told when to stop: use one that is a KeyChanger")
	}
	c.overlap.unserved = c.unserved != nil
	return nil
}

// readFormer reads the former key, which a store of a key that moves to a file has still.
func (n *Node) readFormer(c *keyChoice, former formerKey) error {
	path := formerFile(n.cfg.PrivateKeyFile)
	has, err := keyfile.Read(path)
	other := err == nil && has.PublicKey() != former.public
	switch inStore := former.private != (wgtypes.Key{}); {
	case inStore && errors.Is(err, fs.ErrNotExist):
		c.formerFile = path
	case inStore && err != nil:
		return err
	case inStore && other:
		return fmt.Errorf("key file %s has the key of %s, and the store the former key %s, which is to be put there: move the file away",
			path, has.PublicKey(), former.public)
	case inStore:
	case err != nil:
		c.unserved = fmt.Errorf("%w: put the file of that key back, and start the node anew", err)
	case other:
		c.unserved = fmt.Errorf("key file %s has the key of %s: put the file of the former key back, and start the node anew",
			path, has.PublicKey())
	default:
		c.overlap.private = clamp(has)
	}
	return nil
}

// leaveFormer is chooseFormer for a former key in a file whose name is not known. A program that gives the key leaves all that to
// a later start; one that begins with a new key has no other to take it up.
func (n *Node) leaveFormer(k *kept, c *keyChoice) error {
	if n.cfg.PrivateKey != (wgtypes.Key{}) {
		c.base = k.key
	} else {
		c.ended = k.key.former.public
	}
	n.log.Warn("former key not served: its file is beside the key's, which Config.PrivateKeyFile does not name", "former", k.key.former.public)
	return nil
}

// lookForStray tells of a former key that the store knows nothing of, as after a restore.
func (n *Node) lookForStray() {
	if n.cfg.PrivateKeyFile == "" {
		return
	}
	path := formerFile(n.cfg.PrivateKeyFile)
	if _, err := keyfile.Read(path); !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("key file not used: the store knows of no former key; delete it if nobody needs it", "path", path)
	}
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
