package waylume_test

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
		except:   []string{"./usagelog/...", "./internal/dirlock", "./internal/durable"},
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
