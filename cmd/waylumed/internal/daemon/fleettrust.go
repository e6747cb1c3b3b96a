package daemon

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/keyset"
)

// trusted takes over the keys that the control plane signs with, which are in their file.
func (t *fleetTask) trusted(context.Context, []byte) error {
	t.d.reloading.Lock()
	defer t.d.reloading.Unlock()
	if err := t.d.api.auth.Reload(t.d.trust(t.d.config())); err != nil {
		return err
	}
	t.d.api.events.Renew() // whose streams there are may be trusted no more
	t.d.log.Info("the keys of the fleet's control plane were taken over")
	return nil
}

// trust is whom the node trusts: those of the configuration, and the control plane of its fleet.
func (d *daemon) trust(cfg config.Config) auth.Trust {
	trusted := trust(cfg)
	file := filepath.Join(cfg.Node.State, controlKeysFile)
	if len(cfg.Fleet.URLs) == 0 {
		return trusted
	}
	switch keys, err := keyset.ReadJWKS(file); {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(keys) == 0: // until it is enrolled
	case err != nil:
		d.log.Error("the keys of the fleet's control plane cannot be read, and are not trusted until it sends others", "error", err)
	default:
		trusted.Keys = append(trusted.Keys, auth.KeySource{
			Type: auth.JWKS, Path: file, Scopes: []auth.Scope{auth.PeersRead, auth.PeersWrite},
		})
	}
	return trusted
}

// trusting puts in force whom the node trusts. Where the keys of the fleet do not go with those of the configuration, which may have
// one of them already, those of the configuration count: what a control plane sends keeps no node from starting.
func (d *daemon) trusting(cfg config.Config, use func(auth.Trust) error) error {
	all, own := d.trust(cfg), trust(cfg)
	err := use(all)
	if err == nil || len(all.Keys) == len(own.Keys) {
		return err
	}
	if err := use(own); err != nil {
		return err
	}
	d.log.Error("the keys of the fleet's control plane do not go with those of the configuration, and are not trusted", "error", err,
		"advice", "take the key out of api.auth, where the fleet says which there are")
	return nil
}
