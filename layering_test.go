package waylume_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/waylume/waylume"

// layer says what some packages may not link, however indirectly, on any system. Patterns are those of the go command:
// "./" is this module, "/..." is a package and all below it, and "..." alone is every package but the standard library's.
type layer struct {
	packages []string
	but      []string // not these of packages
	forbid   []string
	except   []string // not these of forbid
	through  []string // what these link is not looked at
	reason   string
}

func TestLayering(t *testing.T) {
	lookAtSources(t)
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			t.Parallel()
			imports := listImports(t, goos)
			for _, l := range layers {
				governed := 0
				for path := range imports {
					if matchAny(l.packages, path) && !matchAny(l.but, path) {
						governed++
						for _, chain := range l.breaches(path, imports) {
							t.Errorf("%s: %s", strings.Join(chain, " -> "), l.reason)
						}
					}
				}
				if governed == 0 {
					t.Errorf("no package is any of %v: the layer governs nothing", l.packages)
				}
			}
		})
	}
}

// A rule that finds nothing wrong must be one that could.
func TestLayeringFindsWhatItForbids(t *testing.T) {
	imports := map[string][]string{
		module + "/ipam":           {"fmt", module + "/internal/handy", "example.org/tree"},
		module + "/internal/handy": {module + "/quota", module + "/ipam/lease"},
		module + "/ipam/lease":     {"os/exec"},
	}
	for _, c := range []struct {
		layer layer
		want  [][]string
	}{
		{
			layer{forbid: []string{"./..."}, except: []string{"./ipam/...", "./internal/..."}},
			[][]string{{module + "/ipam", module + "/internal/handy", module + "/quota"}},
		},
		{
			layer{forbid: []string{"./..."}, except: []string{"./ipam/..."}},
			[][]string{{module + "/ipam", module + "/internal/handy"}},
		},
		{
			layer{forbid: []string{"os/exec"}},
			[][]string{{module + "/ipam", module + "/internal/handy", module + "/ipam/lease", "os/exec"}},
		},
		{layer{forbid: []string{"..."}, except: []string{"./..."}}, [][]string{{module + "/ipam", "example.org/tree"}}},
		{layer{forbid: []string{"os/exec"}, through: []string{"./ipam/lease"}}, nil},
		{layer{forbid: []string{"os", "./ipam/leases", "example.org/tre/..."}}, nil},
	} {
		require.Equal(t, c.want, c.layer.breaches(module+"/ipam", imports), "%+v", c.layer)
	}
}

// breaches returns, for each forbidden package that path links, a shortest chain of imports that leads to it.
func (l layer) breaches(path string, imports map[string][]string) [][]string {
	var found [][]string
	seen := map[string]bool{path: true}
	for queue := [][]string{{path}}; len(queue) > 0; queue = queue[1:] {
		chain := queue[0]
		last := chain[len(chain)-1]
		if len(chain) > 1 && matchAny(l.forbid, last) && !matchAny(l.except, last) {
			found = append(found, chain)
			continue // what lies below is its doing
		}
		for _, next := range imports[last] {
			if !seen[next] && !matchAny(l.through, last) {
				seen[next] = true
				queue = append(queue, append(slices.Clip(chain), next))
			}
		}
	}
	return found
}

// listImports returns what each package of the module, and each that it links on a system, imports.
func listImports(t *testing.T, goos string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,ImportMap", "./...")
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())

	imports := make(map[string][]string)
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
			ImportMap  map[string]string
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return imports
		}
		require.NoError(t, err)
		for i, path := range p.Imports {
			if mapped, ok := p.ImportMap[path]; ok {
				p.Imports[i] = mapped
			}
		}
		imports[p.ImportPath] = p.Imports
	}
}

// lookAtSources makes the result of the test one that the go command keeps only while no source changes: it knows what the
// test itself has looked at, not what go list has.
func lookAtSources(t *testing.T) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		_, err = os.Stat(path)
		return err
	}))
}

func matchAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, path) })
}

func match(pattern, path string) bool {
	if pattern == "..." {
		first, _, _ := strings.Cut(path, "/")
		return strings.Contains(first, ".")
	}
	if rest, ok := strings.CutPrefix(pattern, "./"); ok {
		pattern = strings.TrimSuffix(module+"/"+rest, "/")
	}
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == below || strings.HasPrefix(path, below+"/")
	}
	return path == pattern
}
