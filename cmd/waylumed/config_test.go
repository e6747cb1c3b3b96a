package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// session runs command lines with an environment and what a person types.
func session(t *testing.T, stdin string, environ map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	var list []string
	for name, text := range environ {
		list = append(list, name+"="+text)
	}
	status = run(t.Context(), args, system{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, getenv: func(name string) string { return environ[name] },
		environ: list,
	})
	return status, out.String(), errs.String()
}

// What init writes is accepted by check, shown by show, and what is shown is accepted again.
func TestInitCheckShow(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	environ := map[string]string{"HOME": dir, "WAYLUME_STATE": filepath.Join(dir, "state")}
	status, stdout, stderr := session(t, "", environ, "init", "--yes", "--output", "w.yaml", "--production", "--kid", "backend")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "Wrote "+filepath.Join(dir, "w.yaml"))
	require.FileExists(t, "backend.secret")
	status, stdout, stderr = session(t, "", environ, "config", "check", "--file", "w.yaml")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, filepath.Join(dir, "w.yaml")+": nothing is wrong\n", stdout)

	environ["WAYLUME_CONFIG"] = "w.yaml"
	status, shown, stderr := session(t, "", environ, "config", "show", "--yaml", "--listen-port", "443", "--api-docs")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, shown, "listen_port: 443  # --listen-port\n")
	require.Contains(t, shown, "docs: true  # --api-docs\n")
	require.Contains(t, shown, "profile: production  # "+filepath.Join(dir, "w.yaml")+":")
	require.Contains(t, shown, "state: "+filepath.Join(dir, "state")+"  # WAYLUME_STATE\n")
	require.NoError(t, os.WriteFile("shown.yaml", []byte(shown), 0o600))
	status, again, stderr := session(t, "", map[string]string{"HOME": dir}, "config", "show", "--json", "--config", "shown.yaml")
	require.Equal(t, exitOK, status, stderr)
	require.True(t, json.Valid([]byte(again)))
	require.Contains(t, again, `"value": "443"`)

	status, _, stderr = session(t, "", environ, "init", "--yes", "--output", "w.yaml")
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "w.yaml is there already: name another file with --output, or say --force to replace it")
	status, stdout, stderr = session(t, "local\n\n\n\n\n"+strings.Repeat("no\n", 2), environ, "init", "--output", "w.yaml",
		"--force")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "Who manages the node")
}

// Everything that is wrong is said at once, and nothing of it is a mistake in the command line.
func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.WriteFile("w.yaml", []byte("log: {level: loud}\napi: {listen: ':8443'}\n"), 0o600))
	environ := map[string]string{"HOME": dir, "WAYLUME_MTU": "5", "WAYLUME_LISTEN_PROT": "5"}
	status, stdout, stderr := session(t, "", environ, "config", "check", "--file", "w.yaml", "--run-stop", "never")
	require.Equal(t, exitFailed, status)
	require.Empty(t, stdout)
	file := filepath.Join(dir, "w.yaml")
	require.Equal(t, "waylumed: 5 things are wrong with the configuration:\n"+
		`  WAYLUME_MTU: node.mtu: "5" is not a number that can be here: give 1280 to 9000`+"\n"+
		"  "+file+`:1: log.level: "loud" is not known: give debug, info, warn or error`+"\n"+
		`  --run-stop: run.stop: "never" is not known: give close or keep`+"\n"+
		"  "+file+":2: api.listen: :8443 is reached from other hosts without TLS: give api.tls.cert_file and api.tls.key_file, "+
		"or listen at 127.0.0.1 or at a unix socket\n"+
		"  "+file+":2: api.listen: :8443 is reached from other hosts, and nobody could sign a request: give api.auth.keys, "+
		"api.auth.jwks or "+
		"api.tls.client_ca_file, or listen at 127.0.0.1 or at a unix socket\n", stderr)

	status, stdout, _ = session(t, "", environ, "config", "check", "--file", "w.yaml", "--run-stop", "never", "--json")
	require.Equal(t, exitFailed, status)
	var result struct {
		OK       bool
		Problems []struct{ Key, Where, Text string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &result))
	require.False(t, result.OK)
	require.Len(t, result.Problems, 5)
	require.Equal(t, "node.mtu", result.Problems[0].Key)

	delete(environ, "WAYLUME_MTU")
	require.NoError(t, os.Remove("w.yaml"))
	status, stdout, stderr = session(t, "", environ, "config", "check", "--state", dir, "--config", "")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "warning: WAYLUME_LISTEN_PROT: is no setting (is WAYLUME_LISTEN_PORT meant?), and does nothing\n")
	status, _, stderr = session(t, "", environ, "config", "check", "--file", "absent.yaml")
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "absent.yaml: is not there: make it, or mend its name")
	status, _, _ = session(t, "", environ, "config", "check", "--mtu")
	require.Equal(t, exitUsage, status)
	status, _, stderr = session(t, "", environ, "config")
	require.Equal(t, exitUsage, status)
	require.Contains(t, stderr, "say what to do with the settings")
}

func TestConfigDocs(t *testing.T) {
	status, table, _ := session(t, "", nil, "config", "docs")
	require.Equal(t, exitOK, status)
	require.Contains(t, table, "| `node.listen_port` |")
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	require.NoError(t, err)
	require.Contains(t, string(document), table)
	file := filepath.Join(t.TempDir(), "x.md")
	require.NoError(t, os.WriteFile(file, bytes.Replace(document, []byte("`WAYLUME_MTU`"), []byte("stale"), 1), 0o600))
	status, _, stderr := session(t, "", nil, "config", "docs", "--update", file)
	require.Equal(t, exitOK, status, stderr)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(document), string(text))
}

// Every flag of settings has its values for a shell, and none the files of the directory unless it names one.
func TestConfigCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"--log-level": "debug\ninfo\nwarn\nerror\n:36\n", "--api-tls-cert-file": "none\n:0\n", "--config": ":0\n",
		"--listen-port":                ":36\n",
		"--api-auth-bearer-token-file": ":0\n",
	} {
		var out bytes.Buffer
		root := rootCommand(system{stdout: &out, stderr: io.Discard, getenv: func(string) string { return "" }})
		root.SetOut(&out)
		root.SetErr(io.Discard)
		root.SetArgs([]string{cobra.ShellCompNoDescRequestCmd, "config", "check", line, ""})
		require.NoError(t, root.Execute())
		require.Equal(t, want, out.String(), line)
	}
}
