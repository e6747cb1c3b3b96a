package kernel

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// answers are the features that have an answer from a source.
func answers(features []Feature, answer Answer, source Source) (names []string) {
	for _, f := range features {
		if f.Answer() == answer && f.Source == source {
			names = append(names, f.Name)
		}
	}
	return names
}

var (
	queues = []string{"IFB", "HTB"}
	tables = []string{
		"nftables", "nft sets of addresses", "nft maps to classes (meta priority)", "nft counter objects", "nft quota objects",
		"nft tcp option maxseg", "netdev ingress and fwd", "conntrack", "conntrack over netlink", "masquerade, IPv4 and IPv6", "SNAT",
	}
)

// Where dataplanes run, what they require is there. What they can do without is there if it can be made by hand.
func TestFeatures(t *testing.T) {
	netns.Require(t)
	features, err := Features(t.Context())
	require.NoError(t, err)
	for _, f := range features {
		t.Logf("%-36s %-8s %-6s %v", f.Name, f.Answer(), f.Source, f.Err)
		require.NotEqual(t, Unknown, f.Answer(), f.Name)
		require.Equal(t, f.Answer() == There, f.Requires == "", f.Name)
		require.NotEmpty(t, f.Purpose, f.Name)
		require.NotEmpty(t, f.Without, f.Name)
		if f.Answer() == Absent {
			require.ErrorIs(t, f.Err, wgnode.ErrNotSupported)
			require.ErrorContains(t, f.Err, f.Requires)
		}
		if f.Need == NeedAlways {
			require.NoError(t, f.Err)
		}
	}
	require.Equal(t, []string{"CAP_NET_ADMIN", "IPv4 forwarding", "IPv6 forwarding"}, answers(features, There, SourceAsked))

	want := slices.Concat([]string{"TUN"}, queues, tables, []string{"nft tables, whole"})
	other := netns.New(t)
	other.Do(t, func() (err error) {
		conn, err := link.Dial()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		if _, _, err := conn.EnsureLink("byhand", link.KindWireGuard); err == nil {
			want = append([]string{"WireGuard module"}, want...)
		} else if !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		return nil
	})
	files, err := readKernelFiles("/")
	require.NoError(t, err)
	if files.has([]option{{"CONFIG_NET_SCH_FQ_CODEL", "sch_fq_codel"}}) == nil {
		want = slices.Insert(want, slices.Index(want, "HTB")+1, "fq_codel")
	}
	require.Equal(t, want, answers(features, There, SourceTried))
}

// around is what a process has, and its namespace.
func around(t *testing.T) (links []string, tables []nft.Table, files, threads int, namespace string) {
	t.Helper()
	count := func(dir string) (names []string) {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	conn, err := nft.Dial()
	require.NoError(t, err)
	tables, err = conn.Tables(0)
	require.NoError(t, errors.Join(err, conn.Close()))
	namespace, err = os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	return count("/proc/thread-self/net/dev_snmp6"), tables, len(count("/proc/self/fd")), len(count("/proc/self/task")), namespace
}

// Nothing is left of what was tried: no interface, no table, no file, no thread, and nobody is where it was tried.
func TestFeaturesLeaveNothing(t *testing.T) {
	netns.Require(t)
	_, err := Features(t.Context()) // the runtime keeps some threads and files for itself
	require.NoError(t, err)
	links, tables, files, threads, namespace := around(t)
	for range 30 {
		_, err := Features(t.Context())
		require.NoError(t, err)
	}
	linksAfter, tablesAfter, filesAfter, threadsAfter, namespaceAfter := around(t)
	require.Equal(t, links, linksAfter)
	require.Equal(t, tables, tablesAfter)
	require.Equal(t, files, filesAfter)
	require.Equal(t, namespace, namespaceAfter)
	require.Less(t, threadsAfter, threads+10)
}

// The first thread of the process never goes to another namespace, whoever runs on it.
func TestInNamespace(t *testing.T) {
	netns.Require(t)
	here, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	var group sync.WaitGroup
	failed := make(chan error, 200)
	for range cap(failed) {
		group.Go(func() {
			failed <- inNamespace(func() error {
				runtime.Gosched()
				there, err := os.Readlink("/proc/thread-self/ns/net")
				if err == nil && (there == here || unix.Gettid() == unix.Getpid()) {
					err = fmt.Errorf("thread %d of process %d is in %s", unix.Gettid(), unix.Getpid(), there)
				}
				return err
			})
		})
	}
	group.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	after, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.Equal(t, here, after)
	require.ErrorIs(t, inNamespace(func() error { return unix.EBUSY }), unix.EBUSY)
}

// What is tried of nftables, feature by feature, are all kinds of expressions, keys, values and hooks that the tables have.
func TestTrialsCoverTables(t *testing.T) {
	kinds := func(tables nft.Ruleset) map[string]bool {
		found := make(map[string]bool)
		for table, content := range tables {
			for _, s := range content.Sets {
				found[fmt.Sprintf("family %d key %d value %d interval %t", table.Family, s.Key, s.Value, s.Interval)] = true
			}
			for _, c := range content.Chains {
				if c.Hook != nil {
					found[fmt.Sprintf("family %d %s hook %d", table.Family, c.Hook.Kind, c.Hook.Number)] = true
				}
				for _, r := range c.Rules {
					for _, e := range r.Exprs {
						if of, ok := e.(nft.E); ok {
							found[reflect.TypeOf(of.Any).String()] = true
						} else {
							found[reflect.TypeOf(e).String()] = true
						}
					}
				}
			}
		}
		return found
	}
	tried := make(map[string]bool)
	for _, trial := range []trial{
		chainsTrial(), setsTrial(), classesTrial(), countersTrial(), quotasTrial(), clampTrial(), ingressTrial(), conntrackTrial(),
		masqueradeTrial(), sourceTrial(),
	} {
		for kind := range kinds(nft.Ruleset{trial.table: trial.Content}) {
			tried[kind] = true
		}
	}
	layout, err := wholeLayout()
	require.NoError(t, err)
	for kind := range kinds(layout) {
		if !tried[kind] {
			t.Errorf("nothing tries %s", kind)
		}
	}
}
