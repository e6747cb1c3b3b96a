package supabase_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/edge"
	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/postgres"
	"github.com/waylume/waylume/registry/registrytest"
	"github.com/waylume/waylume/registry/supabase"
)

// config is what a node has that asks these functions. Its credential is in a directory of its own.
func (f *fleet) config() supabase.Config {
	f.t.Helper()
	dir := f.t.TempDir()
	return supabase.Config{
		CredentialFile: filepath.Join(dir, "credential.json"), ControlKeysFile: filepath.Join(dir, "control-keys.json"),
		URLs: []string{f.URL}, RootCAs: f.RootCAs,
	}
}

// registration is one that is complete.
func registration(t *testing.T, name string) registry.Registration {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	return registry.Registration{
		Name: name, PublicKey: registry.Key(key.PublicKey()), EndpointV4: netip.MustParseAddrPort("192.0.2.7:51820"),
		EndpointV6: netip.MustParseAddrPort("[2001:db8::7]:51820"), APIURL: "https://192.0.2.7:8443",
		Location: registry.Location{
			Region: "eu-central", Country: "DE", City: "Frankfurt", Position: &registry.Position{Latitude: 50.11, Longitude: 8.68},
		},
		Capacity: registry.Capacity{Peers: 2000, Rate: 1e9}, Version: "1.0.0", Features: []string{"ipv6"},
	}
}

// open enrolls a node, and returns its client.
func (f *fleet) open(cfg supabase.Config, r registry.Registration) (*supabase.Client, registry.Registered) {
	f.t.Helper()
	registered, err := supabase.Enroll(f.t.Context(), supabase.EnrollConfig{Config: cfg, Token: f.token(r.Name), Registration: r})
	require.NoError(f.t, err)
	client, err := supabase.Open(cfg)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, client.Close()) })
	return client, registered
}

// The life of a node, as the daemon leads it, over TLS.
func TestTheLifeOfANode(t *testing.T) {
	f := fleetAt(t, edge.Database(t, pgserver.Shared(t)), edge.Config{TLS: true})
	cfg, r := f.config(), registration(t, "fra-1")
	client, enrolled := f.open(cfg, r)
	require.EqualValues(t, 1, enrolled.Incarnation)
	require.Equal(t, "waylume-fleet", client.Info().Audience)
	keys, err := os.ReadFile(cfg.ControlKeysFile)
	require.NoError(t, err)
	require.Contains(t, string(keys), edge.KeyID)

	registered, err := client.Register(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, registry.Registered{Server: enrolled.Server, Incarnation: 2}, registered)
	half := 0.5
	heartbeat := registry.Heartbeat{
		Server: registered.Server, Incarnation: 2, Sequence: 1,
		Status: registry.Status{
			Peers: 3, Connected: 2, Health: registry.Degraded, Reasons: []string{"the disk is full"},
			Load: registry.Load{Score: 0.5, CPU: &half, ReceivedRate: 1 << 40, Scaling: registry.ScaleOut},
		},
	}
	said, err := client.Heartbeat(t.Context(), heartbeat)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), said.Now, time.Minute)
	require.Equal(t, "3 2 degraded {\"the disk is full\"} 0.5 scale_out 1099511627776", value[string](f, `select concat_ws(' ',
		peers, connected, health, reasons, load, scaling, measured ->> 'received_rate') from waylume_servers where name = 'fra-1'`))

	require.NoError(t, client.Drain(t.Context(), registered.Server, true))
	require.True(t, value[bool](f, "select node_draining from waylume_servers where name = 'fra-1'"))
	require.NoError(t, client.Drain(t.Context(), registered.Server, false))

	now := time.Now().UTC()
	report := registry.UsageReport{
		Server: registered.Server, Sequence: 1, From: now.Add(-time.Minute), To: now,
		Usages: []registry.PeerUsage{{PublicKey: r.PublicKey, Download: 1 << 50, Upload: 7}},
	}
	for range 2 {
		receipt, err := client.ReportUsage(t.Context(), report)
		require.NoError(t, err)
		require.EqualValues(t, 1, receipt.Sequence)
	}
	require.Equal(t, "1125899906842624 7", value[string](f, "select concat_ws(' ', sum(download), sum(upload)) from vpn_usage"))
	report.Sequence = 3
	_, err = client.ReportUsage(t.Context(), report)
	require.ErrorIs(t, err, registry.ErrGap)

	former := client.Info().Credential
	require.NoError(t, client.Rotate(t.Context()))
	require.NotEqual(t, former, client.Info().Credential)
	heartbeat.Sequence++
	_, err = client.Heartbeat(t.Context(), heartbeat)
	require.NoError(t, err)
	require.Equal(t, "revoked replaced", value[string](f,
		"select state || ' ' || revoke_reason from fleet_credentials_list() where id = $1", former))
	require.Equal(t, "good", value[string](f, "select state from fleet_credentials_list() where id = $1", client.Info().Credential))

	require.NoError(t, client.Deregister(t.Context(), registered.Server))
	require.NoError(t, client.Deregister(t.Context(), registered.Server))
	heartbeat.Sequence++
	_, err = client.Heartbeat(t.Context(), heartbeat)
	require.ErrorIs(t, err, registry.ErrUnknownServer)
	again, err := client.Register(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, registry.Registered{Server: enrolled.Server, Incarnation: 3, UsageSequence: 1}, again)

	r.PublicKey = registration(t, "").PublicKey
	renewed, err := client.Register(t.Context(), r)
	require.NoError(t, err, "whoever has the credential is that server, with whatever key")
	require.Equal(t, enrolled.Server, renewed.Server)
	require.Equal(t, r.PublicKey.String(), value[string](f, "select public_key from waylume_servers where name = 'fra-1'"))
	require.Equal(t, []string{"enrolled", "credential_rotated", "credential_revoked"}, value[[]string](f,
		"select array_agg(kind order by id) from node_events where kind like 'credential%' or kind = 'enrolled'"))
}

// The suite of all registries, through the client, the functions and the database, each node with a credential of its own.
func TestConformance(t *testing.T) {
	f := newFleet(t)
	sessions, err := postgres.New(postgres.Config{DSN: f.db.Config().ConnString()})
	require.NoError(t, err)
	defer func() { require.NoError(t, sessions.Close()) }()
	fleet := func(t *testing.T) registrytest.Fleet {
		f := f.on(t)
		_, err := f.db.Exec(t.Context(), "truncate waylume_servers, fleet_enrollments cascade")
		require.NoError(t, err)
		var mu sync.Mutex
		clients := map[string]*supabase.Client{}
		return registrytest.Fleet{
			Sessions: sessions,
			As: func(name string) registry.Registry {
				mu.Lock()
				defer mu.Unlock()
				if clients[name] == nil {
					clients[name], _ = f.open(f.config(), registration(t, name))
				}
				return clients[name]
			},
			Advance: func(d time.Duration) {
				_, err := f.db.Exec(t.Context(), "update waylume_servers set heartbeat_at = heartbeat_at - $1::interval", d)
				require.NoError(t, err)
			},
			SetDraining: func(ctx context.Context, server registry.ID, draining bool) error {
				_, err := f.db.Exec(ctx, "select waylume_set_draining($1, $2)", string(server), draining)
				return err
			},
		}
	}
	registrytest.RunRegistry(t, fleet)
	registrytest.RunReleases(t, fleet)
}
