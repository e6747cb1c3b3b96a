package daemon

import (
	"cmp"
	"os"
	"slices"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// trust is whom the configuration trusts.
func trust(cfg config.Config) auth.Trust {
	a := cfg.API.Auth
	t := auth.Trust{Audience: cmp.Or(a.Audience, cfg.Node.Name)}
	for _, k := range a.Keys {
		key := auth.KeySource{ID: k.KID, Scopes: k.Scopes, NotAfter: k.NotAfter}
		if k.Alg == config.HS256 {
			key.Type, key.Secret = auth.HMAC, []byte(k.Value.Reveal())
		} else {
			key.Type, key.PublicKey = auth.PEM, []byte(k.Value.Reveal())
		}
		t.Keys = append(t.Keys, key)
	}
	if a.JWKS.Set() {
		s := auth.KeySource{
			Type: auth.JWKS, Path: a.JWKS.File, URL: a.JWKS.URL, Refresh: a.JWKS.Refresh, MaxStale: a.JWKS.MaxStale, Scopes: a.JWKS.Scopes,
		}
		if s.URL != "" {
			s.Type = auth.JWKSURL
		}
		t.Keys = append(t.Keys, s)
	}
	if token := a.BearerToken.Reveal(); token != "" {
		t.Bearers = []auth.Bearer{{Name: "bearer", Secret: []byte(token), Scopes: a.BearerScopes}}
	}
	if cfg.API.TLS.ClientCAFile != "" {
		t.Certificates = []auth.Certificate{{Any: true, Scopes: cfg.API.TLS.ClientScopes}}
	}
	// Whoever may read the state may do all that there is to do.
	all := []auth.Scope{auth.PeersRead, auth.PeersWrite, auth.NodeAdmin}
	users := append([]uint32{0, uint32(os.Geteuid())}, cfg.API.Socket.UIDs...)
	slices.Sort(users)
	for _, uid := range slices.Compact(users) {
		t.Users = append(t.Users, auth.User{UID: uid, Scopes: all})
	}
	return t
}
