package supabase_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
)

// The first migrations are those of registry/postgres, and the example's own come after them.
func TestMigrationsAreTheRegistrys(t *testing.T) {
	theirs, err := filepath.Glob("../../registry/postgres/migrations/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, theirs)
	ours, err := filepath.Glob("migrations/*.sql")
	require.NoError(t, err)
	require.Greater(t, len(ours), len(theirs))
	slices.Sort(ours)
	for i, path := range theirs {
		require.Equal(t, filepath.Base(path), filepath.Base(ours[i]), "go generate ./examples/supabase copies the registry's migrations")
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		got, err := os.ReadFile(ours[i])
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "go generate ./examples/supabase copies the registry's migrations")
	}
}

// What the functions import has one exact version, and that is the one which the tests run with.
func TestVersions(t *testing.T) {
	var manifest struct{ Dependencies map[string]string }
	content, err := os.ReadFile("harness/package.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &manifest))
	imported := map[string]string{}
	specifier := regexp.MustCompile(`from "npm:([^"]+)@([^"@]+)"`)
	for _, path := range sources(t) {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotRegexp(t, `from "(https?|jsr):`, string(content), path)
		for _, found := range specifier.FindAllStringSubmatch(string(content), -1) {
			require.Regexp(t, `^\d+\.\d+\.\d+$`, found[2], path)
			if version, ok := imported[found[1]]; ok {
				require.Equal(t, version, found[2], path)
			}
			imported[found[1]] = found[2]
		}
	}
	require.Equal(t, manifest.Dependencies, imported)
}

// Every function is served by the tests, checks for itself who asks, and is started in the one way.
func TestEveryFunctionIsThere(t *testing.T) {
	folders, err := filepath.Glob("functions/*/index.ts")
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	served, err := os.ReadFile("harness/main.ts")
	require.NoError(t, err)
	config, err := os.ReadFile("config.toml")
	require.NoError(t, err)
	for _, path := range folders {
		name := filepath.Base(filepath.Dir(path))
		require.Contains(t, string(served), `"`+name+`": `)
		require.Contains(t, string(config), "[functions."+name+"]\nverify_jwt = false\n")
		index, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "import { handler } from \"./handler.ts\";\n\nDeno.serve(handler);\n", string(index), path)
	}
	require.Equal(t, len(folders), strings.Count(string(config), "[functions."))
}

// The sources pass Deno's type checker, its linter and its formatter.
func TestSources(t *testing.T) {
	files := sources(t)
	for i, path := range files {
		files[i] = filepath.Join("..", path)
	}
	check := edge.Command(t, "", "check", files...)
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, args := range [][]string{
		{"lint", "--quiet"},
		{"fmt", "--check", "--quiet", "--line-width", "140"},
	} {
		cmd := edge.Command(t, "", "check")
		cmd.Args = append([]string{cmd.Path}, append(args, files...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
}

func sources(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"functions/*/*.ts", "harness/*.ts"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.NotEmpty(t, files)
	return files
}
