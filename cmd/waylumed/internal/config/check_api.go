package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/allowlist"
	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/wgnode/keyfile"
)

func (c checker) tls() {
	t := c.cfg.API.TLS
	const certKey, keyKey, caKey = "api.tls.cert_file", "api.tls.key_file", "api.tls.client_ca_file"
	if !c.sound(certKey, keyKey, caKey) {
		return
	}
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		c.is(certKey, "is given without api.tls.key_file: give its private key, too")
	case t.CertFile == "" && t.KeyFile != "":
		c.is(keyKey, "is given without api.tls.cert_file: give the certificate, too")
	case t.CertFile == "" && t.ClientCAFile != "":
		c.is(caKey, "is given without api.tls.cert_file: clients show certificates over TLS alone, so give that and api.tls.key_file")
	}
	var cert, key []byte
	var err error
	if t.CertFile != "" {
		if cert, err = readFile(t.CertFile); err != nil {
			c.is(certKey, "%s: %v", t.CertFile, err)
		}
	}
	if t.KeyFile != "" {
		var mode fs.FileMode
		if key, mode, err = readWithMode(t.KeyFile, maxFile); err == nil {
			err = private(t.KeyFile, mode)
		}
		if err != nil {
			c.is(keyKey, "%s: %v", t.KeyFile, err)
			key = nil
		}
	}
	if cert != nil && key != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			c.is(certKey, "%s does not go with %s: %s", t.CertFile, t.KeyFile, strings.TrimPrefix(err.Error(), "tls: "))
		} else if pair.Leaf != nil && c.now.After(pair.Leaf.NotAfter) {
			c.warn(certKey, c.origins[certKey], "%s ended at %s: clients refuse it until it is renewed", t.CertFile,
				pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if t.ClientCAFile != "" {
		data, err := readFile(t.ClientCAFile)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
			err = errors.New("has no certificate in PEM: give those that sign clients' certificates")
		}
		if err != nil {
			c.is(caKey, "%s: %v", t.ClientCAFile, err)
		}
	}
}

func (c checker) authentication() {
	api := &c.cfg.API
	for i := range api.Auth.Keys {
		c.key(fmt.Sprintf("api.auth.keys[%d]", i), &api.Auth.Keys[i])
	}
	if !c.sound("api.listen") {
		return
	}
	exposed := api.Exposed()
	if len(exposed) > 0 && api.TLS.CertFile == "" && c.sound("api.tls.cert_file") {
		c.is("api.listen", "%s is reached from other hosts without TLS: give api.tls.cert_file and api.tls.key_file, "+
			"or listen at 127.0.0.1 or at a unix socket", list(exposed))
	}
	if len(exposed) > 0 && !c.cfg.Signed() && c.sound("api.auth.keys", "api.auth.jwks.url", "api.auth.jwks.file",
		"api.tls.client_ca_file") {
		c.is("api.listen", "%s is reached from other hosts, and nobody could sign a request: give api.auth.keys, api.auth.jwks or "+
			"api.tls.client_ca_file, or listen at 127.0.0.1 or at a unix socket", list(exposed))
	}
	if len(exposed) > 0 && api.Auth.BearerToken.Reveal() != "" {
		c.is("api.auth.bearer_token", "is taken on this host alone, and %s is reached from others: leave it out, and sign requests",
			list(exposed))
	}
	jwks := api.Auth.JWKS
	if jwks.URL != "" && jwks.File != "" {
		c.is("api.auth.jwks.file", "is given beside api.auth.jwks.url: give one of them")
	}
	if jwks.MaxStale < jwks.Refresh && c.sound("api.auth.jwks.refresh", "api.auth.jwks.max_stale") {
		c.is("api.auth.jwks.max_stale", "is %s, less than api.auth.jwks.refresh, %s: keys would end between two readings",
			words.InWords(jwks.MaxStale), words.InWords(jwks.Refresh))
	}
	if jwks.File != "" {
		data, err := readFile(jwks.File)
		var set struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if err == nil && (json.Unmarshal(data, &set) != nil || len(set.Keys) == 0) {
			err = errors.New(`is no set of keys: give an object in JSON with "keys" (RFC 7517, section 5)`)
		}
		if err != nil {
			c.is("api.auth.jwks.file", "%s: %v", jwks.File, err)
		}
	}
}

// key reads the file of a key.
func (c checker) key(at string, k *Key) {
	origin := c.origins["api.auth.keys"]
	if k.File != "" {
		data, mode, err := readWithMode(k.File, maxSecretFile)
		text := strings.TrimSpace(string(data))
		if err == nil && k.Alg == HS256 {
			err = private(k.File, mode)
		}
		if err == nil {
			err = checkKey(k.Alg, text)
		}
		if err != nil {
			c.add(at+".file", origin, "%s: %v", k.File, err)
			return
		}
		k.Value = Secret{text}
	}
	if !k.NotAfter.IsZero() && c.now.After(k.NotAfter) {
		c.warn(at+".not_after", origin, "was %s: the key %s is not taken any more, and can be left out",
			k.NotAfter.Format(time.RFC3339), k.KID)
	}
}

// lists checks what is in files beside those of the API.
func (c checker) lists() {
	list := c.cfg.Allowlist
	if list.File != "" && list.URL != "" {
		c.is("allowlist.file", "is given beside allowlist.url: give one of them")
	}
	if list.Set() && len(c.cfg.Kernel().ControlPorts) == 0 && c.sound("api.listen", "node.control_ports") {
		key := "allowlist.file"
		if list.File == "" {
			key = "allowlist.url"
		}
		c.is(key, "says who reaches the API's TCP ports and node.control_ports, and there are none: name ports, or leave it out")
	}
	if list.File != "" {
		if err := checkAllowlist(list.File); err != nil {
			c.is("allowlist.file", "%s: %v", list.File, err)
		}
	}
	if file := c.cfg.Node.PrivateKeyFile; file != "" && c.sound("node.private_key_file") {
		if _, err := keyfile.Read(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.is("node.private_key_file", "%v", err)
		}
	}
	if dir := c.cfg.Node.State; dir != "" && c.sound("node.state") {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			c.is("node.state", "%s is no directory: name one", dir)
		}
	}
}

// checkAllowlist reads a list of prefixes.
func checkAllowlist(path string) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	_, err = allowlist.Parse(data)
	return err
}
