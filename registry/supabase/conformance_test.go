package supabase

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/registrytest"
)

// TestConformance has each node of the suite speak with a credential of its own, over TLS, and the control plane have the fleet
// itself. Its clock is that of the fleet alone, so that a node's is off by minutes now and then.
func TestConformance(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Fleet {
		s := newSite(t)
		root := t.TempDir()
		var mu sync.Mutex
		nodes := make(map[string]*Client)
		return registrytest.Fleet{
			As: func(name string) registry.Registry {
				mu.Lock()
				defer mu.Unlock()
				if c := nodes[name]; c != nil {
					return c
				}
				cfg := Config{CredentialFile: filepath.Join(root, name), URLs: []string{s.url()}, RootCAs: s.root()}
				return &firstUse{cfg: cfg, name: name, site: s, opened: func(c *Client) {
					mu.Lock()
					defer mu.Unlock()
					nodes[name] = c
				}}
			},
			Directory: s.mem, Sessions: s.mem, Advance: s.clock.Advance, SetDraining: s.mem.SetDraining,
		}
	})
}

// firstUse enrolls a node when it is first used: an enrollment registers, and the suite counts servers.
type firstUse struct {
	registry.Registry
	cfg    Config
	name   string
	site   *site
	opened func(*Client)
	once   sync.Once
}

func (f *firstUse) open() {
	f.once.Do(func() {
		_, err := Enroll(f.site.Context(), EnrollConfig{
			Config: f.cfg, Token: f.site.fleet.NewToken(tokenOf(f.name)), Registration: registration(f.name),
		})
		require.NoError(f.site, err)
		c := f.site.open(f.cfg)
		f.opened(c)
		f.Registry = c
	})
}

func (f *firstUse) Register(ctx context.Context, r registry.Registration) (registry.Registered, error) {
	f.open()
	return f.Registry.Register(ctx, r)
}

func (f *firstUse) Heartbeat(ctx context.Context, h registry.Heartbeat) (registry.Answer, error) {
	f.open()
	return f.Registry.Heartbeat(ctx, h)
}
