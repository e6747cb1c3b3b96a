package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/wgnode/kernel"
)

// A reload takes over what it may, says what waits, and changes nothing if anything is wrong.
func TestReload(t *testing.T) {
	opts := options(t, "log: {level: info}\napi: {auth: {bearer_token_file: a.secret}, docs: false}\n")
	dir := filepath.Dir(opts.File)
	write(t, dir, "a.secret", secretText)
	first, err := config.Load(opts)
	require.NoError(t, err)
	same, changes, err := first.Reload(opts)
	require.NoError(t, err)
	require.Empty(t, changes)
	require.Equal(t, first.Config, same.Config)

	write(t, dir, "a.secret", secretText+"2")
	write(t, dir, "w.yaml", "log: {level: debug}\nnode: {mtu: 1300, pool: 10.5.0.0/16}\napi: {auth: {bearer_token_file: "+
		"a.secret}, docs: false}\n")
	next, changes, err := first.Reload(opts)
	require.NoError(t, err)
	require.Equal(t, []config.Change{
		{Key: "node.pool", Old: "10.0.0.0/8, fd77:6179:6c75:6d65::/64", New: "10.5.0.0/16"},
		{Key: "node.mtu", Old: "1420", New: "1300"},
		{Key: "api.auth.bearer_token", Old: "(hidden)", New: "(hidden)", Reloadable: true},
		{Key: "log.level", Old: "info", New: "debug", Reloadable: true},
	}, changes)
	require.Equal(t, slog.LevelDebug, next.Config.Log.Level)
	require.Equal(t, secretText+"2", next.Config.API.Auth.BearerToken.Reveal())
	require.Equal(t, 1420, next.Config.Node.MTU)
	require.Equal(t, config.FromDefault, next.Origins["node.mtu"].Source)
	require.Equal(t, slog.LevelInfo, first.Config.Log.Level, "what runs is not touched")

	write(t, dir, "w.yaml", "log: {level: loud}\nnode: {mtu: 1300}\n")
	_, _, err = first.Reload(opts)
	require.ErrorContains(t, err, `log.level: "loud" is not known`)
}

// Settings that are right by themselves may be wrong with those that wait for a restart.
func TestReloadMixture(t *testing.T) {
	opts := options(t, "api: {listen: ':8443', "+someTLS+", "+someKey+"}")
	files(t, opts)
	first, err := config.Load(opts)
	require.NoError(t, err)
	write(t, filepath.Dir(opts.File), "w.yaml", "api: {auth: {bearer_token: "+secretText+"}}")
	_, err = config.Load(opts)
	require.NoError(t, err)
	_, _, err = first.Reload(opts)
	require.ErrorContains(t, err, ":8443 is reached from other hosts, and nobody could sign a request")
	require.ErrorContains(t, err, "api.auth.bearer_token: is taken on this host alone")
	require.ErrorContains(t, err, "(until a restart, since what else has changed counts from then)")
}

// No way of printing a configuration shows a secret.
func TestSecretsHidden(t *testing.T) {
	opts := options(t, "api:\n  auth:\n    bearer_token: "+secretText+"\n    keys: [{kid: a, alg: HS256, value: "+secretText+
		", scopes: [peers:read]}]\ntracing: {headers: key="+secretText+"}")
	loaded, err := config.Load(opts)
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, loaded.WriteText(&b))
	require.NoError(t, loaded.WriteJSON(&b))
	require.NoError(t, loaded.WriteYAML(&b))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&b, verb, loaded)
		fmt.Fprintf(&b, verb, loaded.Config)
		fmt.Fprintf(&b, verb, loaded.Config.API.Auth.BearerToken)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "config", loaded.Config, "secret", loaded.Config.API.Auth.BearerToken)
	text, err := json.Marshal(loaded.Config)
	require.NoError(t, err)
	require.NotContains(t, b.String()+string(text), secretText)
	require.NotContains(t, b.String(), fmt.Sprintf("%x", secretText))
	require.Contains(t, b.String(), "bearer_token: (hidden)")
	require.True(t, loaded.Config.API.Auth.BearerToken.Equal(config.NewSecret(secretText)))
	require.False(t, loaded.Config.API.Auth.BearerToken.Equal(config.NewSecret(secretText+"x")))

	for _, broken := range []string{
		"api: {auth: {bearer_token: [" + secretText + "]}}", "api: {auth: {keys: " + secretText + "}}", "api: {auth: {keys: [" +
			secretText + "]}}",
		"api: {auth: {keys: [{kid: a, value: " + secretText + "}]}}", "api:\n  auth:\n    bearer_token: " + secretText + ": x: y",
		"api: {auth: {keys: [{value: {x: " + secretText + "}}]}}", "tracing: {headers: " + secretText + "}",
		"api: {auth: {bearer_token: *" + secretText + "}}",
	} {
		_, err := config.Load(options(t, broken, "WAYLUME_API_AUTH_KEYS=["+secretText, "WAYLUME_TRACING_HEADERS="+secretText))
		require.Error(t, err, broken)
		require.NotContains(t, err.Error(), secretText, broken)
	}
}

// What is shown loads again, with its secrets where they have files of their own.
func TestShowFiles(t *testing.T) {
	opts := options(t, "api: {listen: ':8443', "+someTLS+", "+someKey+"}\ntracing: {headers_file: headers, endpoint: "+
		"'http://collector:4318'}\nadmin: {listen: "+
		"':9586'}")
	files(t, opts)
	write(t, filepath.Dir(opts.File), "headers", "a=b")
	loaded, err := config.Load(opts)
	require.NoError(t, err)
	require.Len(t, loaded.Warnings, 2)
	require.Equal(t, "tracing.endpoint", loaded.Warnings[1].Key)
	var b strings.Builder
	require.NoError(t, loaded.WriteYAML(&b))
	again, err := config.Load(config.Options{File: write(t, t.TempDir(), "shown.yaml", b.String()), Now: now()})
	require.NoError(t, err, b.String())
	require.Equal(t, loaded.Config, again.Config)

	b.Reset()
	require.NoError(t, loaded.WriteJSON(&b))
	var shown struct {
		Schema, File string
		Settings     []config.Shown
		Warnings     []config.Problem
	}
	require.NoError(t, json.Unmarshal([]byte(b.String()), &shown))
	require.Equal(t, config.ShowSchema, shown.Schema)
	require.Equal(t, opts.File, shown.File)
	require.Equal(t, loaded.Warnings, shown.Warnings)
	require.Len(t, shown.Settings, len(config.Settings("")))
	for _, s := range shown.Settings {
		if s.Key == "api.auth.keys" {
			require.Equal(t, []any{map[string]any{
				"kid": "a", "alg": "HS256", "file": filepath.Join(filepath.Dir(opts.File), "hs.secret"), "scopes": []any{"peers:read"},
			}}, s.Value)
			require.Equal(t, config.FromFile, s.Source)
		}
	}
	b.Reset()
	require.NoError(t, loaded.WriteText(&b))
	require.Regexp(t, `(?m)^api\.auth\.keys +a +`+opts.File+`:1$`, b.String())
	require.Regexp(t, `(?m)^node\.control_ports +none +default$`, b.String())
	require.Contains(t, b.String(), "warning: "+opts.File+":3: admin.listen: :9586 is reached from elsewhere")
}

// What the library is told.
func TestConversion(t *testing.T) {
	opts := options(t, `node: {control_ports: [22], control_allow: 198.51.100.0/24, fwmark: 0xca6c, nat: none, usage_log: none, endpoint: vpn.example.com}
allowlist: {file: list}
run: {stop: keep}
api: {listen: [':8443', '127.0.0.1:5'], `+someTLS+", "+someKey+"}")
	files(t, opts)
	loaded, err := config.Load(opts)
	require.NoError(t, err)
	k := loaded.Config.Kernel()
	require.Equal(t, []uint16{22, 8443}, k.ControlPorts)
	require.Equal(t, []uint16{22}, loaded.Config.Node.ControlPorts)
	require.Equal(t, kernel.NATNone, k.NAT)
	require.Equal(t, uint32(0xca6c), k.FirewallMark)
	require.True(t, k.KeepOnClose)
	n := loaded.Config.NodeConfig()
	require.Equal(t, "vpn.example.com", n.Endpoint)
	require.Zero(t, n.UsageLogPeriod)
	require.Len(t, n.DNS, 2)
}

// Whatever is in a file: settings that are valid, or problems that say where; never a panic.
func FuzzYAML(f *testing.F) {
	for _, seed := range []string{
		"", "log: {level: debug}", "api:\n  listen: [':8443', 'unix:/x']\n  auth:\n    keys: [{kid: a, alg: HS256, value: x, " +
			"scopes: [peers:read]}]",
		"node: &a {mtu: 1300}\napi: *a", "? {a: b}\n: c", "a: !!binary x", "---\n---\n", "<<: {a: b}",
		"node: {dns: none, pool: '10.0.0.0/8,x'}",
		"profile: production\nallowlist: {url: 'https://x/'}", "api: {auth: {bearer_token_file: x, bearer_token: y}}", "\xff\xfe",
		"node: {state: null}",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "w.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		loaded, err := config.Load(config.Options{File: file, Alone: true, Now: now()})
		if err != nil {
			var invalid *config.Error
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
				t.Fatalf("%q: %v", text, err)
			}
			for _, p := range invalid.Problems {
				if p.Text == "" || strings.ContainsAny(p.Text, "\x00\x1b") || len(p.String()) > 5000 {
					t.Fatalf("%q: %q", text, p.String())
				}
			}
			return
		}
		var b strings.Builder
		require.NoError(t, loaded.WriteYAML(&b))
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
		again, err := config.Load(config.Options{File: file, Alone: true, Now: now()})
		if strings.Contains(b.String(), "(hidden)") {
			return
		}
		require.NoError(t, err, "%q\n%s", text, b.String())
		require.Empty(t, config.Diff(loaded.Config, again.Config), "%q\n%s", text, b.String())
	})
}
