package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// What makes the hashes of a segment.
const (
	AlgorithmPlain = "sha256"
	AlgorithmKeyed = "hmac-sha256"
)

// MinKey is the least length of a key, in bytes; more than MaxKey is no key but another file.
const (
	MinKey = 32
	MaxKey = 1024
)

// zeroHash stands before the first line of a log.
const zeroHash = "0000000000000000000000000000000000000000000000000000000000000000"

// sealer makes the hash of a line: with a key, only who has it can.
type sealer struct{ key []byte }

func (s sealer) seal(body []byte) string {
	if s.key == nil {
		sum := sha256.Sum256(body)
		return hex.EncodeToString(sum[:])
	}
	mac := hmac.New(sha256.New, s.key)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func (s sealer) algorithm() string {
	if s.key == nil {
		return AlgorithmPlain
	}
	return AlgorithmKeyed
}

// keyID tells keys apart.
func (s sealer) keyID() string {
	if s.key == nil {
		return ""
	}
	return s.seal([]byte("waylume audit key id"))[:16]
}

// ReadKey reads a key for [Options].Key from a file: one line of base64 (RFC 4648, section 4) of MinKey bytes or more, as
// "openssl rand -base64 32" writes it. A file that others than its owner may use is refused; Windows, where a mode says nothing
// of that, is not asked. The error has nothing of what the file holds.
func ReadKey(path string) (key []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("audit: key: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("audit: key: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("audit: key %s: %w: run 'chmod 600 %s', and make another key if somebody may have read it",
			path, ErrKey, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 2*MaxKey))
	if err != nil {
		return nil, fmt.Errorf("audit: key: %w", err)
	}
	key, bad := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if bad != nil || len(key) < MinKey || len(key) > MaxKey {
		return nil, fmt.Errorf("audit: key %s: %w: give one line of base64 of %d to %d bytes, as 'openssl rand -base64 32' writes it",
			path, ErrKey, MinKey, MaxKey)
	}
	return key, nil
}
