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

var layers = []layer{
	{
		packages: []string{"./ipam/..."},
		forbid:   []string{"./..."},
		except:   []string{"./ipam/..."},
		reason:   "a leaf stands alone",
	},
	{
		packages: []string{"./quota/..."},
		forbid:   []string{"./..."},
		except:   []string{"./quota/..."},
		reason:   "a leaf stands alone",
	},
	{
		packages: []string{"./isolation/..."},
		forbid:   []string{"./..."},
		except:   []string{"./isolation/...", "./internal/packet"},
		reason:   "a leaf stands alone",
	},
	{
		packages: []string{"./shaping/..."},
		forbid:   []string{"./..."},
		except:   []string{"./shaping/...", "./internal/packet"},
		reason:   "a leaf stands alone",
	},
	{
		packages: []string{"./usagelog/..."},
		forbid:   []string{"./..."},
		except:   []string{"./usagelog/..."},
		reason:   "a leaf stands alone",
	},
	{
		packages: []string{"./shaping"},
		forbid:   []string{"./shaping/..."},
		except:   []string{"./shaping"},
		reason:   "the plan knows nobody who carries it out",
	},
	{
		packages: []string{"./shaping/htb"},
		forbid:   []string{"./shaping/..."},
		except:   []string{"./shaping", "./shaping/htb"},
		reason:   "executors of one plan do not know each other",
	},
	{
		packages: []string{"./internal/packet"},
		forbid:   []string{"..."},
		except:   []string{"./internal/packet"},
		reason:   "the parser of hostile bytes trusts the standard library alone",
	},
	{
		packages: []string{"./ipam/...", "./quota/...", "./isolation/...", "./shaping/...", "./usagelog/..."},
		but:      []string{"./shaping/shapedtun"},
		forbid:   []string{"golang.zx2c4.com/...", "gvisor.dev/...", "go.etcd.io/..."},
		reason:   "a leaf is of use without a tunnel, a stack or a store",
	},
	{
		packages: []string{"./shaping/shapedtun"},
		forbid:   []string{"golang.zx2c4.com/wireguard/device", "golang.zx2c4.com/wireguard/tun/netstack", "gvisor.dev/..."},
		reason:   "it wraps any TUN, and links what the interface of one needs",
	},
	{
		packages: []string{"./wgnode", "./wgnode/internal/..."},
		but:      []string{"./wgnode/internal/wggo"},
		forbid: []string{
			"golang.zx2c4.com/...", "gvisor.dev/...", "go.etcd.io/...",
			"./wgnode/userspace/...", "./wgnode/kernel/...", "./wgnode/boltstore/...", "./wgnode/httpapi/...", "./wgnode/wgnodetest/...",
		},
		except: []string{"golang.zx2c4.com/wireguard/wgctrl/wgtypes"},
		reason: "an embedder links a dataplane or a store by choice: they import wgnode, never the reverse",
	},
	{
		packages: []string{"./wgnode/internal/wggo"},
		forbid:   []string{"./...", "gvisor.dev/..."},
		except:   []string{"./wgnode/internal/wggo"},
		reason:   "it is of every dataplane that encrypts in this process, and knows none",
	},
	{
		packages: []string{"./wgnode/userspace/..."},
		forbid:   []string{"go.etcd.io/...", "./wgnode/boltstore/...", "./wgnode/kernel/..."},
		reason:   "a dataplane keeps nothing, and is one of several",
	},
	{
		packages: []string{"./wgnode/kernel/..."},
		forbid: []string{
			"go.etcd.io/...", "gvisor.dev/...", "./wgnode/boltstore/...", "./wgnode/userspace/...", "./wgnode/wgnodetest/...", "./shaping/shapedtun",
		},
		reason: "a dataplane keeps nothing, and is one of several; the kernel's needs no network stack of its own",
	},
	{
		packages: []string{"./wgnode/kernel/internal/..."},
		forbid:   []string{"./wgnode/kernel", "./wgnode/internal/...", "./shaping/htb"},
		except:   []string{"./wgnode/internal/wggo"},
		reason:   "the dataplane joins what carries its parts out, which know neither it nor each other",
	},
	{
		packages: []string{"./wgnode/kernel/internal/..."},
		but:      []string{"./wgnode/kernel/internal/wgdev"},
		forbid:   []string{"./wgnode", "golang.zx2c4.com/..."},
		reason:   "only the tunnel is WireGuard's, and says what a host lacks for it",
	},
	{
		packages: []string{"./wgnode/kernel/internal/flows"},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/kernel/internal/flows"},
		reason:   "an executor speaks with one part of the kernel, and knows no other",
	},
	{
		packages: []string{"./wgnode/kernel/internal/link"},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/kernel/internal/link"},
		reason:   "an executor speaks with one part of the kernel, and knows no other",
	},
	{
		packages: []string{"./wgnode/kernel/internal/nft"},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/kernel/internal/nft"},
		reason:   "an executor speaks with one part of the kernel, and knows no other",
	},
	{
		packages: []string{"./wgnode/kernel/internal/sysctl"},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/kernel/internal/sysctl"},
		reason:   "an executor speaks with one part of the kernel, and knows no other",
	},
	{
		packages: []string{"./wgnode/kernel/internal/rules"},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/kernel/internal/rules", "./wgnode/kernel/internal/nft", "./isolation", "./internal/packet"},
		reason:   "what the tables hold follows from the plans alone",
	},
	{
		packages: []string{"./wgnode/kernel/internal/guest"},
		forbid:   []string{"./..."},
		except: []string{
			"./wgnode/kernel/internal/guest", "./wgnode/kernel/internal/nft", "./wgnode/kernel/internal/rules", "./isolation", "./internal/packet",
		},
		reason: "what is done to other firewalls depends on our tables at most",
	},
	{
		packages: []string{"./wgnode/kernel/internal/wgdev"},
		forbid:   []string{"./wgnode/kernel/internal/..."},
		except:   []string{"./wgnode/kernel/internal/wgdev", "./wgnode/kernel/internal/link"},
		reason:   "a driver makes a link, and no more",
	},
	{
		packages: []string{"./..."},
		but: []string{
			"./cmd/...", "./examples/...", "./internal/testutil/...", "./wgnode/wgnodetest/...", "./shaping/htb", "./wgnode/kernel/...",
		},
		forbid: []string{
			"github.com/mdlayher/...", "github.com/jsimonetti/...", "github.com/google/nftables/...", "github.com/florianl/...",
			"golang.zx2c4.com/wireguard/wgctrl",
		},
		reason: "only the kernel's dataplane talks to the kernel",
	},
	{
		packages: []string{"./wgnode/boltstore/..."},
		forbid:   []string{"golang.zx2c4.com/...", "gvisor.dev/...", "./wgnode/userspace/...", "./wgnode/kernel/..."},
		except:   []string{"golang.zx2c4.com/wireguard/wgctrl/wgtypes"},
		reason:   "a store moves no packets",
	},
	{
		packages: []string{"./..."},
		but:      []string{"./cmd/...", "./examples/...", "./internal/testutil/...", "./wgnode/wgnodetest/...", "./wgnode/httpapi/..."},
		forbid:   []string{"github.com/spf13/...", "github.com/jedib0t/...", "flag", "net/http", "testing", "github.com/stretchr/...", "pgregory.net/..."},
		reason:   "a library brings neither a command line, nor a web server, nor test tools",
	},
	{
		packages: []string{"./..."},
		but:      []string{"./cmd/...", "./examples/...", "./wgnode/httpapi/..."},
		forbid:   []string{"github.com/prometheus/...", "go.opentelemetry.io/..."},
		reason:   "a node tells of itself with Totals and to a Tracer; who sends that where is a matter of the API's",
	},
	{
		packages: []string{"./wgnode/httpapi/..."},
		forbid: []string{
			"github.com/spf13/...", "github.com/jedib0t/...", "testing", "github.com/stretchr/...", "pgregory.net/...",
			"gvisor.dev/...", "./wgnode/userspace/...", "./wgnode/kernel/...", "./wgnode/boltstore/...",
		},
		reason: "an API serves any node, whatever moves its packets and keeps its state",
	},
	{
		packages: []string{"./wgnode/httpapi/client"},
		forbid:   []string{"./wgnode/...", "golang.zx2c4.com/...", "github.com/danielgtaylor/..."},
		except:   []string{"./wgnode/httpapi/client", "./wgnode/httpapi/v1", "./wgnode/httpapi/problem"},
		reason:   "whoever asks a node links none, nor a server",
	},
	{
		packages: []string{"./wgnode/httpapi/..."},
		but:      []string{"./wgnode/httpapi/idempotency/boltkeys"},
		forbid:   []string{"go.etcd.io/..."},
		reason:   "an embedder links a store of keys by choice",
	},
	{
		packages: []string{"./wgnode/httpapi/v1"},
		forbid:   []string{"./wgnode/...", "github.com/danielgtaylor/...", "net/http"},
		except:   []string{"./wgnode/httpapi/v1"},
		reason:   "a client knows what is asked and answered, and links neither a node nor a server",
	},
	{
		packages: []string{"./wgnode/httpapi/idempotency"},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/httpapi/idempotency", "./wgnode/httpapi/problem", "./wgnode/httpapi/auth/..."},
		reason:   "keys are of use to any API",
	},
	{
		packages: []string{"./wgnode/httpapi/idempotency/boltkeys"},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/httpapi/idempotency/...", "./wgnode/httpapi/problem", "./wgnode/httpapi/auth/...", "./internal/durable"},
		reason:   "a store of keys knows no node",
	},
	{
		packages: []string{"./wgnode/httpapi/problem", "./wgnode/httpapi/auth/..."},
		forbid:   []string{"./..."},
		except:   []string{"./wgnode/httpapi/problem", "./wgnode/httpapi/auth/..."},
		reason:   "who may ask, and how a refusal reads, is of use before any API",
	},
	{
		packages: []string{"./wgnode/httpapi/auth/sign"},
		forbid:   []string{"..."},
		except:   []string{"./wgnode/httpapi/auth/sign", "github.com/golang-jwt/jwt/v5"},
		reason:   "who signs requests needs nothing of who answers them",
	},
	{
		packages: []string{"./..."},
		but:      []string{"./examples/...", "./internal/testutil/...", "./wgnode/wgnodetest/..."},
		forbid:   []string{"os/exec"},
		through:  []string{"go.opentelemetry.io/otel/sdk/resource"}, // what asks a Mac for its id with a program is a detector that nobody uses
		reason:   "no program is executed, ever",
	},
	{
		packages: []string{"./..."},
		but:      []string{"./cmd/...", "./examples/..."},
		forbid:   []string{"./cmd/...", "./examples/..."},
		reason:   "programs are on top",
	},
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
