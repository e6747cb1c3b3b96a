package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func feature(name string, need kernel.Need, source kernel.Source, requires string, err error) kernel.Feature {
	return kernel.Feature{
		Name: name, Need: need, Source: source, Purpose: "do " + name, Without: "there is no " + name, Requires: requires, Err: err,
	}
}

// some are a few features, each there or with an error.
func some(source kernel.Source, module, tun, ifb, codel error) []kernel.Feature {
	requires := func(err error, what string) string {
		if err == nil {
			return ""
		}
		return what
	}
	return []kernel.Feature{
		feature(wireGuardModule, kernel.NeedOneDriver, source, requires(module, "the module"), module),
		feature(tunDevice, kernel.NeedOneDriver, source, requires(tun, "the file"), tun),
		feature("IFB", kernel.NeedAlways, source, requires(ifb, "a kernel with CONFIG_IFB"), ifb),
		feature("fq_codel", kernel.NeedBetter, source, requires(codel, "another kernel"), codel),
	}
}

var (
	errAbsent  = fmt.Errorf("%w: as the kernel says", wgnode.ErrNotSupported)
	errUnclear = errors.New("nothing tells")
)

// other answers for another host.
type other struct {
	host      Host
	supported error
	features  []kernel.Feature
	without   error
	firewalls []kernel.Firewall
	unseen    error
	legacy    bool
}

func (o other) examine(ctx context.Context) (*Report, error) {
	return examine(ctx, probes{
		host:      func() (Host, error) { return o.host, nil },
		supported: func(context.Context) error { return o.supported },
		features:  func(context.Context) ([]kernel.Feature, error) { return o.features, o.without },
		firewalls: func(context.Context) ([]kernel.Firewall, error) { return o.firewalls, o.unseen },
		legacy:    func() bool { return o.legacy },
	})
}

func root() Host {
	return Host{OS: "linux", Arch: "amd64", Kernel: "6.1.0", Capabilities: []string{"CAP_NET_ADMIN", "CAP_SYS_ADMIN"}}
}

// The names of the JSON form stay under Schema: a change to this list needs another one.
func TestSchema(t *testing.T) {
	require.Equal(t, "waylume.doctor/1", Schema)
	want := []string{
		"schema", "host.os", "host.arch", "host.kernel", "host.user_id", "host.capabilities",
		"features.name", "features.answer", "features.need", "features.source", "features.purpose", "features.without", "features.requires",
		"features.reason", "firewalls_unknown", "firewalls.family", "firewalls.table", "firewalls.programs", "firewalls.drops_forwarded",
		"firewalls.drops_input", "firewalls.locked", "iptables_legacy", "verdict.dataplane", "verdict.driver", "verdict.reason",
		"verdict.missing", "verdict.unsure", "verdict.changes.feature", "verdict.changes.gain", "verdict.changes.do",
	}
	require.ElementsMatch(t, want, names(reflect.TypeFor[Report](), ""))

	r, err := other{host: root(), features: some(kernel.SourceTried, errAbsent, nil, nil, nil)}.examine(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.NotContains(t, string(text), "null")
	require.Contains(t, string(text), `"verdict":{"dataplane":"kernel","driver":"tun","missing":[],"unsure":[],`+
		`"changes":[{"feature":"WireGuard module","gain":"without it there is no WireGuard module","do":"the module"}]}`)
	require.Contains(t, string(text), `{"name":"WireGuard module","answer":"absent","need":"one driver","source":"tried",`+
		`"purpose":"do WireGuard module","without":"there is no WireGuard module","requires":"the module","reason":"not supported: as the kernel says"}`)
}

func names(t reflect.Type, prefix string) (list []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		of := f.Type
		if of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct {
			list = append(list, names(of, prefix+name+".")...)
		} else {
			list = append(list, prefix+name)
		}
	}
	return list
}

func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	_, err := other{without: broken}.examine(t.Context())
	require.ErrorIs(t, err, broken)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = other{}.examine(ended)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Examine(ended)
	require.ErrorIs(t, err, context.Canceled)
	r, err := other{host: root()}.examine(t.Context())
	require.NoError(t, err)
	full, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	require.Error(t, r.Write(console.Console{Writer: full}))
}
