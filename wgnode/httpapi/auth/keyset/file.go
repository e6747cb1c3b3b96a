package keyset

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile is the most that is read of a file of keys, in bytes.
const maxFile = 256 << 10

// ErrExposed says that others than its owner and its group may use a file that has a secret.
var ErrExposed = errors.New("others may use it")

// ReadHMAC reads a secret from a file: all of its bytes, but for one line break at the end. Others than its owner and its group
// may not use the file ([ErrExposed]; Windows is not asked).
func ReadHMAC(id, path string) (Key, error) {
	secret, err := read(path, true)
	if err != nil {
		return Key{}, err
	}
	secret = bytes.TrimSuffix(bytes.TrimSuffix(secret, []byte("\n")), []byte("\r"))
	if block, _ := pem.Decode(secret); block != nil {
		return Key{}, fmt.Errorf("%s: %w: it is PEM (%s), and a secret of HS256 is no such thing", path, ErrKey, block.Type)
	}
	k, err := HMAC(id, secret)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ReadPEM reads a public key from a file, which has one block "PUBLIC KEY" (RFC 7468, section 13), as "openssl pkey -pubout"
// writes.
func ReadPEM(id, path string) (Key, error) {
	data, err := read(path, false)
	if err != nil {
		return Key{}, err
	}
	k, err := ParsePEM(id, data)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// ParsePEM reads a public key as a file for ReadPEM has it.
func ParsePEM(id string, data []byte) (Key, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return Key{}, fmt.Errorf("%w: it is not PEM: write the public key with: openssl pkey -in PRIVATE -pubout", ErrKey)
	case block.Type != "PUBLIC KEY":
		return Key{}, fmt.Errorf("%w: it is a %s: the node needs the public key alone: openssl pkey -in PRIVATE -pubout", ErrKey,
			block.Type)
	case len(bytes.TrimSpace(rest)) > 0:
		return Key{}, fmt.Errorf("%w: it has more than one block: one file has one public key", ErrKey)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return Public(id, public)
}

// ReadJWKS reads a JWK Set from a file. Unlike one from a URL it may have secrets ("oct", with alg HS256); then others than its
// owner and its group may not use the file ([ErrExposed]).
func ReadJWKS(path string) ([]Key, error) {
	data, err := read(path, false)
	if err != nil {
		return nil, err
	}
	keys, _, err := ParseJWKS(data, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, k := range keys {
		if k.Algorithm() == HS256 {
			if err := private(path); err != nil {
				return nil, err
			}
		}
	}
	return keys, nil
}

// read reads a file.
func read(path string, secret bool) (_ []byte, err error) {
	if secret {
		if err := private(path); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %w: it has more than %d bytes", path, ErrKey, maxFile)
	}
	return data, nil
}
