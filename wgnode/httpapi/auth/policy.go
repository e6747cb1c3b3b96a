package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/auth/keyset"
)

// policy is a Trust that has been checked and read. It does not change.
type policy struct {
	audience string
	keys     map[string]grantedKey // by kid
	remotes  []grantedRemote
	bearers  []grantedBearer
	users    map[uint32][]Scope
	certs    []Certificate
}

// grant is what goes with a key.
type grant struct {
	scopes   []Scope
	notAfter time.Time
}

type grantedKey struct {
	keyset.Key
	grant
}

type grantedRemote struct {
	*keyset.Remote
	grant
	spec remoteSpec
}

// remoteSpec tells one remote from another.
type remoteSpec struct {
	url                      string
	refresh, retry, maxStale time.Duration
}

type grantedBearer struct {
	sum       [sha256.Size]byte
	principal Principal
}

// read reads what a Trust names. All that is wrong is in the error. Remotes of former that are wanted still are kept as they
// are, with their keys; others are made, and not started.
func (t Trust) read(c *Config, former *policy) (*policy, error) {
	p := &policy{
		audience: t.Audience, keys: make(map[string]grantedKey), users: make(map[uint32][]Scope), certs: slices.Clone(t.Certificates),
	}
	var errs []error
	if len(t.Keys) > 0 && (t.Audience == "" || len(t.Audience) > maxPrincipal) {
		errs = append(errs, fmt.Errorf("Audience has %d bytes: give the node's name, which tokens are made for, of 1 to %d",
			len(t.Audience), maxPrincipal))
	}
	var all []keyset.Key
	for i, source := range t.Keys {
		keys, err := p.readSource(source, c, former)
		if err != nil {
			errs = append(errs, fmt.Errorf("Keys[%d]: %w", i, err))
		}
		all = append(all, keys...)
	}
	errs = append(errs, keyset.Check(all))
	for i, b := range t.Bearers {
		if err := p.addBearer(b); err != nil {
			errs = append(errs, fmt.Errorf("Bearers[%d]: %w", i, err))
		}
	}
	for i, u := range t.Users {
		err := checkScopes(u.Scopes)
		if _, ok := p.users[u.UID]; ok {
			err = errors.Join(err, fmt.Errorf("user %d is there twice", u.UID))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("Users[%d]: %w", i, err))
		}
		p.users[u.UID] = slices.Clone(u.Scopes)
	}
	for i, cert := range t.Certificates {
		if err := cert.check(); err != nil {
			errs = append(errs, fmt.Errorf("Certificates[%d]: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// readSource reads the keys of one source. They are added, and returned but for those of a URL.
func (p *policy) readSource(s KeySource, c *Config, former *policy) ([]keyset.Key, error) {
	g := grant{slices.Clone(s.Scopes), s.NotAfter}
	if err := errors.Join(checkScopes(s.Scopes), s.check()); err != nil {
		return nil, err
	}
	var keys []keyset.Key
	var k keyset.Key
	var err error
	switch s.Type {
	case HMAC:
		if len(s.Secret) > 0 {
			k, err = keyset.HMAC(s.ID, s.Secret)
		} else {
			k, err = keyset.ReadHMAC(s.ID, s.Path)
		}
		keys = []keyset.Key{k}
	case PEM:
		if len(s.PublicKey) > 0 {
			k, err = keyset.ParsePEM(s.ID, s.PublicKey)
		} else {
			k, err = keyset.ReadPEM(s.ID, s.Path)
		}
		keys = []keyset.Key{k}
	case JWKS:
		keys, err = keyset.ReadJWKS(s.Path)
	case JWKSURL:
		return nil, p.addRemote(s, g, c, former)
	}
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		p.keys[k.ID()] = grantedKey{k, g}
	}
	return keys, nil
}

// check names what is missing of a source, or too much.
func (s KeySource) check() error {
	var id, path, secret, public, url bool
	switch s.Type {
	case HMAC:
		id, path, secret = true, len(s.Secret) == 0, len(s.Secret) > 0
	case PEM:
		id, path, public = true, len(s.PublicKey) == 0, len(s.PublicKey) > 0
	case JWKS:
		path = true
	case JWKSURL:
		url = true
	default:
		return fmt.Errorf("type %q: there are %s, %s, %s, %s", s.Type, HMAC, PEM, JWKS, JWKSURL)
	}
	var errs []error
	for _, f := range []struct {
		name        string
		has, should bool
	}{
		{"an ID", s.ID != "", id}, {"a Path", s.Path != "", path},
		{"a Secret", len(s.Secret) > 0, secret}, {"a PublicKey", len(s.PublicKey) > 0, public}, {"a URL", s.URL != "", url},
	} {
		switch {
		case f.has && !f.should:
			errs = append(errs, fmt.Errorf("a source of type %s has %s, which says nothing there: leave it out", s.Type, f.name))
		case !f.has && f.should:
			errs = append(errs, fmt.Errorf("a source of type %s has not %s: give one", s.Type, f.name))
		}
	}
	return errors.Join(errs...)
}

func (p *policy) addRemote(s KeySource, g grant, c *Config, former *policy) error {
	spec := remoteSpec{s.URL, s.Refresh, s.Retry, s.MaxStale}
	if slices.ContainsFunc(p.remotes, func(r grantedRemote) bool { return r.spec.url == s.URL }) {
		return fmt.Errorf("%s is there twice", s.URL)
	}
	if former != nil {
		for _, r := range former.remotes {
			if r.spec == spec {
				p.remotes = append(p.remotes, grantedRemote{r.Remote, g, spec})
				return nil
			}
		}
	}
	r, err := keyset.NewRemote(keyset.RemoteConfig{
		URL: s.URL, Refresh: s.Refresh, Retry: s.Retry, MaxStale: s.MaxStale,
		Transport: c.KeysTransport, Logger: c.Logger, Now: c.Now,
	})
	if err != nil {
		return err
	}
	p.remotes = append(p.remotes, grantedRemote{r, g, spec})
	return nil
}

func (p *policy) addBearer(b Bearer) error {
	if err := errors.Join(checkScopes(b.Scopes), checkName(b.Name)); err != nil {
		return err
	}
	if len(b.Secret) < minBearer {
		return fmt.Errorf("the secret of %q has %d bytes: take %d random ones or more", b.Name, len(b.Secret), minBearer)
	}
	if slices.ContainsFunc(b.Secret, func(c byte) bool { return c <= ' ' || c > '~' || c == '.' }) {
		return fmt.Errorf("the secret of %q has a byte that is no visible ASCII character, or is a dot: write it in hexadecimal",
			b.Name)
	}
	sum := sha256.Sum256(b.Secret)
	for _, other := range p.bearers {
		if other.sum == sum {
			return fmt.Errorf("%q and %q have the same secret: make two", other.principal.Name, b.Name)
		}
	}
	p.bearers = append(p.bearers, grantedBearer{sum, Principal{Name: b.Name, Method: MethodBearer, Scopes: slices.Clone(b.Scopes)}})
	return nil
}

// find returns the key of an id. The refusal says why there is none.
func (p *policy) find(ctx context.Context, kid string, now time.Time) (grantedKey, *refusal) {
	k, ok := p.keys[kid]
	var stale error
	for i := 0; !ok && i < len(p.remotes); i++ {
		r := p.remotes[i]
		key, found, err := r.Lookup(ctx, kid)
		if err != nil {
			stale = err
		}
		k, ok = grantedKey{key, r.grant}, found
	}
	switch {
	case !ok && stale != nil:
		return grantedKey{}, unavailable(KeysStale,
			"the node could not fetch the keys that tokens are checked with for too long: its log says why; try again later", stale)
	case !ok:
		return grantedKey{}, denied(UnknownKey, "no key has the token's kid: sign with a key that this node has been given")
	case !k.notAfter.IsZero() && now.After(k.notAfter):
		return grantedKey{}, denied(KeyEnded, "the token's key has ended: sign with the one that follows it").by(kid)
	}
	return k, nil
}

// bearer returns whose a plain token is. It takes the same time for every token of a length.
func (p *policy) bearer(token string) (Principal, bool) {
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i, b := range p.bearers {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], b.sum[:]), i, found)
	}
	if found < 0 {
		return Principal{}, false
	}
	return p.bearers[found].principal, true
}

// checkName names what is wrong with the name of a principal.
func checkName(name string) error {
	if name == "" || len(name) > maxPrincipal {
		return fmt.Errorf("the name has %d bytes: give 1 to %d", len(name), maxPrincipal)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return errors.New("the name has a control character, or is no UTF-8: take letters")
		}
	}
	return nil
}

// has reports whether a remote is one of the policy's.
func (p *policy) has(r grantedRemote) bool {
	return slices.ContainsFunc(p.remotes, func(other grantedRemote) bool { return other.Remote == r.Remote })
}
