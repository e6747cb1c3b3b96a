package wgnode

import (
	"errors"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// keyRecord is what the store knows of the node's key: the key itself, or whose it is when a file has it.
type keyRecord struct {
	private, public wgtypes.Key
	// next is set while a rotation is under way: the file has the key of public, or of next.
	next wgtypes.Key
	// former is zero without an overlap.
	former formerKey
}

// formerKey is what the store knows of the key before, which clients may know the node by for a while.
type formerKey struct {
	private wgtypes.Key // zero when a file has it
	public  wgtypes.Key
	// until is when the overlap ends; zero: it is over, but for what a file may have of it.
	until time.Time
}

type nodeKeyJSON struct {
	version
	PrivateKey string `json:"private_key,omitempty"`
	PublicKey  string `json:"public_key,omitempty"`
	NextKey    string `json:"next_public_key,omitempty"`

	FormerPrivateKey string    `json:"former_private_key,omitempty"`
	FormerPublicKey  string    `json:"former_public_key,omitempty"`
	OverlapEnds      time.Time `json:"overlap_ends,omitzero"`
}

func (r keyRecord) encode() (Record, error) {
	v := nodeKeyJSON{
		version: version{firstVersion}, PrivateKey: optionalKey(r.private), NextKey: optionalKey(r.next), OverlapEnds: r.former.until,
	}
	if r.private == (wgtypes.Key{}) {
		v.version, v.PublicKey = version{3}, r.public.String()
	}
	if r.former != (formerKey{}) {
		v.version, v.FormerPrivateKey = version{4}, optionalKey(r.former.private)
		if v.FormerPrivateKey == "" {
			v.FormerPublicKey = r.former.public.String()
		}
	}
	return encode(RecordNode, nodeKeyRecord, v)
}

// optionalKey is the text of a key, empty for none.
func optionalKey(key wgtypes.Key) string {
	if key == (wgtypes.Key{}) {
		return ""
	}
	return key.String()
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
	if k.former, err = v.former(); err != nil {
		return keyRecord{}, err
	}
	return k, nil
}

// former decodes what the record has of the key before.
func (v nodeKeyJSON) former() (f formerKey, err error) {
	if f.private, err = parseOptionalKey(v.FormerPrivateKey); err != nil {
		return formerKey{}, fmt.Errorf("former_private_key: %w", err)
	}
	if f.public, err = parseOptionalKey(v.FormerPublicKey); err != nil {
		return formerKey{}, fmt.Errorf("former_public_key: %w", err)
	}
	f.until = wallClock(v.OverlapEnds)
	switch {
	case f.private != (wgtypes.Key{}) && (f.public != (wgtypes.Key{}) || v.PrivateKey == ""):
		return formerKey{}, errors.New("former_private_key: belongs beside a private key, and to no former public one")
	case f.private != (wgtypes.Key{}):
		f.public = f.private.PublicKey()
	case f.public == (wgtypes.Key{}) && !f.until.IsZero():
		return formerKey{}, errors.New("overlap_ends: there is no former key")
	}
	return f, nil
}

// with is the record with what the store is to know of an overlap. Of one that is over it need only know which file to remove.
func (r keyRecord) with(o overlap) keyRecord {
	switch {
	case o.public == (wgtypes.Key{}) || o.over && r.private != (wgtypes.Key{}):
	case o.over:
		r.former = formerKey{public: o.public}
	case r.private != (wgtypes.Key{}):
		r.former = formerKey{private: o.private, public: o.public, until: o.until}
	default:
		r.former = formerKey{public: o.public, until: o.until}
	}
	return r
}

// without is the record without a former key.
func (r keyRecord) without() keyRecord {
	r.former = formerKey{}
	return r
}

// overlaps reports whether the former key holds at a moment, for a node whose public key is known by then. Of a rotation that was
// under way that says whether it was made: one with an overlap left the key that the store knew as the former one, and one
// without ended the overlap that there was.
func (r keyRecord) overlaps(public wgtypes.Key, now time.Time) bool {
	switch public {
	case r.next:
		return r.former.public == r.known() && now.Before(r.former.until)
	case r.known():
		return r.former.public != public && now.Before(r.former.until)
	}
	return false
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
