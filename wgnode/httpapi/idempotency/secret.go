package idempotency

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// scope is what a key belongs to, and the key: each part with its length before it, so that no two scopes are the same bytes.
type scope []byte

func scopeOf(r *http.Request, key string) scope {
	who, _ := auth.FromContext(r.Context())
	return joined(who.Method, who.Name, r.Method, r.URL.EscapedPath(), key)
}

// digestOf is a digest of all that must be the same in a request that is sent again. The signature of a request is not of it, as
// each is signed anew.
func digestOf(r *http.Request, body []byte) [sha256.Size]byte {
	return sha256.Sum256(joined(
		r.Method, r.URL.EscapedPath(), r.URL.RawQuery, header(r, "Content-Type"), header(r, "Content-Encoding"),
		header(r, "If-Match"), header(r, "If-None-Match"), header(r, "If-Unmodified-Since"), string(body),
	))
}

func header(r *http.Request, name string) string { return strings.Join(r.Header.Values(name), ", ") }

func joined(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// id is where the entry of a scope is found: without the secret of the store it says nothing of the scope.
func (s scope) id(secret Secret) ID {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte("waylume idempotency: id\x00"))
	mac.Write(s)
	return ID(mac.Sum(nil))
}

// material is what an entry's secrets are. Each entry has a salt of its own: a key that is used again after its time gets others.
type material struct {
	cipher cipher.AEAD
	seed   [32]byte
	marker [32]byte // key of the prints
}

// material derives an entry's secrets with HKDF (RFC 5869) from the store's secret and the scope, of which the client's key is
// not stored anywhere.
func (s scope) material(secret Secret, salt [32]byte) (m material, err error) {
	all, err := hkdf.Key(sha256.New, append(secret[:], s...), salt[:], "waylume idempotency: entry", 96)
	if err != nil {
		return material{}, err
	}
	block, err := aes.NewCipher(all[:32])
	if err != nil {
		return material{}, err
	}
	m.cipher, err = cipher.NewGCMWithRandomNonce(block)
	copy(m.seed[:], all[32:64])
	copy(m.marker[:], all[64:])
	return m, err
}

// mark is a request's, as it is stored: who has the file cannot try bodies on it.
func (m material) mark(digest [sha256.Size]byte) [sha256.Size]byte {
	mac := hmac.New(sha256.New, m.marker[:])
	mac.Write(digest[:])
	return [sha256.Size]byte(mac.Sum(nil))
}

func random() (b [32]byte) {
	_, _ = rand.Read(b[:]) // it never fails
	return b
}
