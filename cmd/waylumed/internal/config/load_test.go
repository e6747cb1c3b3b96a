package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

const secretText = "0123456789abcdef0123456789abcdef"

// now is the time of all tests.
func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// write makes a file of mode 0600.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// options are for a file with this text in a directory of its own, where the state is, too.
func options(t *testing.T, text string, environ ...string) config.Options {
	t.Helper()
	dir := t.TempDir()
	environ = append([]string{"WAYLUME_STATE=" + filepath.Join(dir, "state")}, environ...)
	return config.Options{File: write(t, dir, "w.yaml", text), Environ: environ, Now: now()}
}

// problems are what is wrong, without the directory of the file.
func problems(t *testing.T, opts config.Options) []string {
	t.Helper()
	_, err := config.Load(opts)
	var invalid *config.Error
	require.ErrorAs(t, err, &invalid)
	var all []string
	for _, p := range invalid.Problems {
		all = append(all, strings.ReplaceAll(p.String(), filepath.Dir(opts.File)+"/", ""))
	}
	return all
}

func TestUnknown(t *testing.T) {
	for text, want := range map[string]string{
		"node:\n  listen_prot: 5":            "w.yaml:2: node.listen_prot: is unknown (is node.listen_port meant?)",
		"lgo: {level: info}":                 "w.yaml:1: lgo: is unknown (is log meant?)",
		"# x\n\nlisten_port: 5":              "w.yaml:3: listen_port: is unknown (is node.listen_port meant?)",
		"api:\n  auth:\n    bearer_tokne: x": "w.yaml:3: api.auth.bearer_tokne: is unknown (is api.auth.bearer_token meant?)",
		"api:\n  auth:\n    bearer_token_fil: x": "w.yaml:3: api.auth.bearer_token_fil: is unknown (is api.auth.bearer_token_file " +
			"meant?)",
		"node:\n  zzzzzzzzzz: 1": "w.yaml:2: node.zzzzzzzzzz: is unknown: leave it out; docs/configuration.md has " +
			"all that there are",
		"node:\n  state_file: /x":             "w.yaml:2: node.state_file: is unknown",
		"node: {mtu: 1300, mtu: 1301}":        "w.yaml:1: node.mtu: is there twice: leave one out",
		"log:\n  level:\n":                    "w.yaml:2: log.level: has no value: give one, or leave the line out",
		"log: [a]":                            "w.yaml:1: log: is a section: write what is in it below it, indented",
		"log:\n  level: [info]":               "w.yaml:2: log.level: is a list: give one value",
		"log:\n  level: {a: b}":               "w.yaml:2: log.level: is not a plain value: give a word or a number",
		"node:\n  dns: {a: b}":                "w.yaml:2: node.dns: is not a plain value: give a word or a number",
		"node:\n  dns:\n  - 1.1.1.1\n  - [a]": "w.yaml:4: node.dns: has an entry that is no plain value: give words or numbers",
		"log:\n  level: !!binary aW5mbw==":    "w.yaml:2: log.level: has a tag of YAML, !!binary: leave it out",
		"a: &x {b: c}\nlog: *x":               "w.yaml:2: log: is an alias: write the value itself",
		"a: &x {level: info}\nlog: {<<: *x}":  "w.yaml:2: log: has a key that is no plain name: write settings as 'name: value'",
		"? [a]\n: b":                          "w.yaml:1: has a key that is no plain name: write settings as 'name: value'",
		"- a":                                 "w.yaml:1: is no mapping: write settings as 'name: value'",
		"just words":                          "w.yaml:1: is no mapping: write settings as 'name: value'",
		"log: {":                              "w.yaml: is not YAML: line 1: did not find expected node content",
		"log: {level: info}\n---\nlog: {}":    "w.yaml: has more than one document",
		"#" + strings.Repeat("x", 1<<20):      "w.yaml: is longer than 1048576 bytes",
	} {
		require.Contains(t, strings.Join(problems(t, options(t, text)), "\n"), want, text[:min(len(text), 80)])
	}
	for _, text := range []string{"", "# nothing", "---\n", "log:\napi:\n  tls:\n", "null"} {
		loaded, err := config.Load(options(t, text))
		require.NoError(t, err, text)
		require.Equal(t, uint16(51820), loaded.Config.Node.ListenPort)
	}
}

// A secret is taken from a file of its own by the file of settings, the environment, .env and a flag, the strongest first.
func TestSecretFiles(t *testing.T) {
	opts := options(t, "api: {auth: {bearer_token_file: one.secret}}\ntracing: {headers_file: /nowhere}")
	dir := filepath.Dir(opts.File)
	other := t.TempDir()
	opts.Dir = other
	write(t, dir, "one.secret", "\n "+secretText+"1 \n")
	write(t, other, "two.secret", secretText+"2")
	write(t, other, "three.secret", secretText+"3\r\n")
	headers := write(t, other, "headers", "a=b")

	require.Equal(t, []string{"w.yaml:2: tracing.headers_file: /nowhere: is not there: make it, or mend its name"}, problems(t,
		opts))
	opts.Environ = append(opts.Environ, "WAYLUME_TRACING_HEADERS_FILE="+headers)
	token := func(want string, from config.Origin) {
		t.Helper()
		loaded, err := config.Load(opts)
		require.NoError(t, err)
		require.Equal(t, secretText+want, loaded.Config.API.Auth.BearerToken.Reveal())
		got := loaded.Origins["api.auth.bearer_token"]
		require.Equal(t, from.Source, got.Source)
		require.Equal(t, from.Where, got.Where)
		require.Equal(t, from.SecretFile, got.SecretFile)
		require.Equal(t, "a=b", loaded.Config.Tracing.Headers.Reveal())
	}
	token("1", config.Origin{Source: config.FromFile, Where: opts.File + ":1", SecretFile: filepath.Join(dir, "one.secret")})
	dotenv := write(t, other, ".env", "WAYLUME_API_AUTH_BEARER_TOKEN_FILE=two.secret\nOTHER=x\n")
	token("2", config.Origin{
		Source: config.FromDotenv, Where: "WAYLUME_API_AUTH_BEARER_TOKEN_FILE in " + dotenv, SecretFile: filepath.Join(other,
			"two.secret"),
	})
	opts.Environ = append(opts.Environ, "WAYLUME_API_AUTH_BEARER_TOKEN="+secretText+"4")
	token("4", config.Origin{Source: config.FromEnvironment, Where: "WAYLUME_API_AUTH_BEARER_TOKEN"})
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	opts.Flags = config.Register(set, "")
	require.Error(t, set.Parse([]string{"--api-auth-bearer-token", "x"}), "every user sees it")
	require.NoError(t, set.Parse([]string{"--api-auth-bearer-token-file=three.secret"}))
	token("3", config.Origin{
		Source: config.FromFlag, Where: "--api-auth-bearer-token-file", SecretFile: filepath.Join(other, "three.secret"),
	})

	opts.Environ = append(opts.Environ, "WAYLUME_API_AUTH_BEARER_TOKEN_FILE=two.secret")
	require.Equal(t, []string{
		"WAYLUME_API_AUTH_BEARER_TOKEN_FILE: api.auth.bearer_token: is given beside its file (WAYLUME_API_AUTH_BEARER_TOKEN): give " +
			"one of them",
	}, problems(t, opts))
}

// Files with secrets in them are for their owner alone.
func TestExposed(t *testing.T) {
	opts := options(t, "api: {auth: {bearer_token_file: a.secret}}")
	dir := filepath.Dir(opts.File)
	secret := write(t, dir, "a.secret", secretText)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		require.NoError(t, os.Chmod(secret, mode))
		require.Len(t, problems(t, opts), 1)
		require.Contains(t, problems(t, opts)[0], "if nobody has read it, run: chmod 600 a.secret")
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		require.NoError(t, os.Chmod(secret, mode))
		_, err := config.Load(opts)
		require.NoError(t, err)
	}
	require.NoError(t, os.Chmod(secret, 0o600))
	for text, want := range map[string]string{
		"":                           "is empty",
		"short":                      "is shorter than 32 bytes",
		strings.Repeat("x", 1<<16+1): "is longer than 65536 bytes",
	} {
		write(t, dir, "a.secret", text)
		require.Contains(t, problems(t, opts)[0], want)
	}
	require.NoError(t, os.Remove(secret))
	require.NoError(t, os.Mkdir(secret, 0o700))
	require.Contains(t, problems(t, opts)[0], "is no file: name one")

	opts = options(t, "api: {auth: {bearer_token: "+secretText+"}}")
	_, err := config.Load(opts)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(opts.File, 0o644))
	require.Equal(t, []string{
		"w.yaml:1: api.auth.bearer_token: is a secret in this file, and others than its owner may use it, its mode is 0644: " +
			"if nobody has read it, run: chmod 600 w.yaml",
	}, problems(t, opts))
	opts = options(t, "")
	dotenv := write(t, filepath.Dir(opts.File), ".env", "WAYLUME_API_AUTH_BEARER_TOKEN="+secretText)
	loaded, err := config.Load(opts)
	require.NoError(t, err, "beside the file")
	require.Equal(t, secretText, loaded.Config.API.Auth.BearerToken.Reveal())
	require.NoError(t, os.Chmod(dotenv, 0o640))
	require.Contains(t, problems(t, opts)[0], ".env: has a secret, and others than its owner may use it")
	write(t, filepath.Dir(opts.File), ".env", secretText+"-x\n")
	require.Equal(t, []string{".env: line 1 is no variable: write NAME=value, with letters, digits and _ in the name"}, problems(t,
		opts))
}

// Where the file is, and what its relative paths count from.
func TestFile(t *testing.T) {
	opts := options(t, "node: {private_key_file: keys/node.key}\naudit: {file: none}\napi: {listen: ['unix:a.sock', '127.0.0.1:5']}")
	dir := filepath.Dir(opts.File)
	loaded, err := config.Load(opts)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "keys", "node.key"), loaded.Config.Node.PrivateKeyFile)
	require.Equal(t, []config.Address{{Network: "unix", Address: filepath.Join(dir, "a.sock")}, {Network: "tcp",
		Address: "127.0.0.1:5"}},
		loaded.Config.API.Listen)
	require.Empty(t, loaded.Config.Audit.File)
	file := opts.File

	opts.File, opts.Dir, opts.Environ = "", dir, []string{"WAYLUME_STATE=s", config.FileEnv + "=w.yaml"}
	loaded, err = config.Load(opts)
	require.NoError(t, err)
	require.Equal(t, file, loaded.File)
	require.Equal(t, filepath.Join(dir, "s"), loaded.Config.Node.State)
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	opts.Flags = config.Register(set, "")
	require.NoError(t, set.Parse([]string{"--config", "other.yaml"}))
	opts.File = filepath.Join(dir, "other.yaml")
	require.Equal(t, []string{"other.yaml: is not there: make it, or mend its name"}, problems(t, opts))

	opts = config.Options{DefaultFile: filepath.Join(dir, "absent.yaml"), Environ: []string{"WAYLUME_STATE=/s"}}
	loaded, err = config.Load(opts)
	require.NoError(t, err)
	require.Empty(t, loaded.File)
	opts.DefaultFile = file
	loaded, err = config.Load(opts)
	require.NoError(t, err)
	require.Equal(t, file, loaded.File)

	getenv := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/x"}[name] }
	none := func(string) string { return "" }
	require.Equal(t, "/etc/waylume/waylumed.yaml", config.DefaultFile(getenv, true, "/root"))
	require.Equal(t, "/x/waylumed/waylumed.yaml", config.DefaultFile(getenv, false, "/home/a"))
	require.Equal(t, "/home/a/.config/waylumed/waylumed.yaml", config.DefaultFile(none, false, "/home/a"))
	require.Empty(t, config.DefaultFile(none, false, ""))
}
