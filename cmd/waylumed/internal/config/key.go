package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// Algorithms of keys (RFC 7518, section 3.1; RFC 8037).
const (
	HS256 = "HS256" // one secret, for who signs and for who verifies
	EdDSA = "EdDSA" // Ed25519
	ES256 = "ES256"
)

// Key verifies what clients sign.
type Key struct {
	KID, Alg string
	// File is where Value was read from; empty: Value was written in the configuration itself.
	File string
	// Value is for HS256 the secret, whose bytes are those of the text, 32 or more; else the public key in PEM (PKIX).
	Value    Secret
	Scopes   []auth.Scope
	NotAfter time.Time // zero: for good
}

// maxKeys is more than any rotation needs.
const maxKeys = 64

// keyText is a key as it is written.
type keyText struct {
	kid, alg, file, value, notAfter string
	scopes                          []string

	line  int
	lines map[string]int // of its parts
}

func keySetting() Setting {
	s := named("api.auth.keys", "", "Keys that sign requests, each with kid, alg (HS256, EdDSA or ES256), file or value, scopes "+
		"and, "+
		"if it ends, not_after (RFC 3339)", []option{secretly, reloadable})
	s.Unit, s.List, s.kind, s.DefaultText = "list of keys, outside of the file in YAML on one line", true, structured, "none"
	s.bind = binding{
		set: func(c *Config, v value) []fault {
			keys, faults := parseKeys(v.tree)
			if len(faults) == 0 {
				c.API.Auth.Keys = keys
			}
			return faults
		},
		get: func(c *Config, revealed bool) value {
			v := value{}
			for _, k := range c.API.Auth.Keys {
				v.tree = append(v.tree, k.text(revealed))
			}
			return v
		},
		copy: func(to, from *Config) { to.API.Auth.Keys = slices.Clone(from.API.Auth.Keys) },
	}
	return s
}

// text writes the key as it is read; revealed, with what is in its file, to be compared.
func (k Key) text(revealed bool) keyText {
	t := keyText{kid: k.KID, alg: k.Alg, file: k.File}
	if revealed {
		t.value = k.Value.Reveal()
	} else if k.File == "" {
		t.value = k.Value.String()
	}
	for _, s := range k.Scopes {
		t.scopes = append(t.scopes, string(s))
	}
	if !k.NotAfter.IsZero() {
		t.notAfter = k.NotAfter.Format(time.RFC3339)
	}
	return t
}

func parseKeys(texts []keyText) (keys []Key, faults []fault) {
	if len(texts) > maxKeys {
		return nil, []fault{{err: fmt.Errorf("has %d keys: at most %d are allowed", len(texts), maxKeys)}}
	}
	for i, t := range texts {
		add := func(part string, err error) {
			if err != nil {
				line := t.lines[part]
				if line == 0 {
					line = t.line
				}
				faults = append(faults, fault{fmt.Sprintf("[%d].%s", i, part), line, err})
			}
		}
		k := Key{KID: t.kid, Alg: t.alg, File: t.file}
		_, err := text("name", 1, 128).parse(t.kid)
		add("kid", err)
		if slices.ContainsFunc(keys, func(other Key) bool { return other.KID == k.KID }) {
			add("kid", fmt.Errorf("%q is there twice: give each key a kid of its own", clip(k.KID)))
		}
		_, err = oneOf(HS256, EdDSA, ES256).parse(t.alg)
		add("alg", err)
		switch {
		case t.file == "" && t.value == "":
			add("file", errors.New("is not given: name the file of the key, of mode 0600"))
		case t.file != "" && t.value != "":
			add("value", errors.New("is given beside file: give one of them"))
		case t.value != "":
			k.Value, err = secret("", func(text string) error { return checkKey(t.alg, text) }).parse(t.value)
			add("value", err)
		}
		if len(t.scopes) == 0 {
			add("scopes", errors.New("are not given: say what the key may do, such as [peers:read, peers:write]"))
		}
		for _, text := range t.scopes {
			s, err := scope().parse(text)
			add("scopes", err)
			k.Scopes = append(k.Scopes, s)
		}
		if t.notAfter != "" {
			k.NotAfter, err = time.Parse(time.RFC3339, t.notAfter)
			if err != nil {
				add("not_after", fmt.Errorf("%q is not a time: give such as 2027-06-30T00:00:00Z", clip(t.notAfter)))
			}
		}
		keys = append(keys, k)
	}
	return keys, faults
}

// checkKey says whether a text is a key for an algorithm.
func checkKey(alg, text string) error {
	block, _ := pem.Decode([]byte(text))
	switch {
	case alg == HS256 && block != nil: // such as a public key, with which everybody could sign
		return errors.New("is in PEM, and no secret: give 32 bytes or more, as from 'openssl rand -base64 32', or mend alg")
	case alg == HS256:
		return longEnough(text)
	}
	if block == nil || block.Type != "PUBLIC KEY" {
		return errors.New("is no public key in PEM: give what 'openssl pkey -pubout' writes, which begins with -----BEGIN PUBLIC " +
			"KEY-----")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return errors.New("is a damaged public key: write it anew with 'openssl pkey -pubout'")
	}
	switch key := public.(type) {
	case ed25519.PublicKey:
		if alg == EdDSA {
			return nil
		}
	case *ecdsa.PublicKey:
		if alg == ES256 && key.Curve == elliptic.P256() {
			return nil
		}
	}
	return fmt.Errorf("is a public key of another kind than %s needs: mend alg, or give the key that it is about", clip(alg))
}

// readKeys reads keys as they nest.
func (r *reader) readKeys(node *yaml.Node, key string, origin Origin) []keyText {
	if node.Kind != yaml.SequenceNode {
		if node.Kind == yaml.ScalarNode && (node.Value == "none" || node.Value == "") {
			return nil
		}
		r.add(key, origin, "is no list: give one entry for each key, such as - {kid: a, alg: HS256, file: a.secret, scopes: "+
			"[peers:read]}")
		return nil
	}
	fields := []string{"kid", "alg", "file", "value", "scopes", "not_after"}
	var texts []keyText
	for i, item := range node.Content {
		t := keyText{line: item.Line, lines: make(map[string]int)}
		words := map[string]*string{"kid": &t.kid, "alg": &t.alg, "file": &t.file, "value": &t.value, "not_after": &t.notAfter}
		if item.Kind != yaml.MappingNode {
			r.add(fmt.Sprintf("%s[%d]", key, i), origin.at(item.Line), "is no key: give kid, alg, file and scopes")
			continue
		}
		for name, content := range r.pairs(item, fmt.Sprintf("%s[%d]", key, i), origin) {
			part := fmt.Sprintf("%s[%d].%s", key, i, name.Value)
			at := origin.at(name.Line)
			t.lines[name.Value] = name.Line
			switch word := words[name.Value]; {
			case name.Value == "scopes":
				t.scopes, _ = r.items(content, part, at, true)
			case word == nil:
				r.add(fmt.Sprintf("%s[%d].%s", key, i, clip(name.Value)), at, "is unknown%s: a key has %s",
					nearest(name.Value, fields), inWords(fields, "and"))
			default:
				if items, ok := r.items(content, part, at, false); ok {
					*word = items[0]
				}
			}
		}
		texts = append(texts, t)
	}
	return texts
}
