package metrics_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

const (
	deploy = "../../../deploy"
	page   = "../../../docs/metrics.md"
)

// vocabulary is what an expression may name: series, and the values of labels from closed sets.
type vocabulary struct {
	series map[string]bool
	values map[string]map[string]bool // by label
}

// learn has a node, an API and a store tell all they can.
func learn(t *testing.T) vocabulary {
	t.Helper()
	node, _ := start(t)
	requests := metrics.NewHTTP(metrics.HTTPOptions{AuthReasons: []string{"expired"}})
	full := func() registry.Load {
		l := loaded()
		l.Memory, l.Conntrack, l.Peers = new(0.1), new(0.1), new(0.1)
		return l
	}
	all, err := metrics.NewRegistry(
		collector(t, node, metrics.Options{PerPeer: true}), requests, metrics.NewFleet(member), metrics.NewLoad(full),
	)
	require.NoError(t, err)
	v := vocabulary{series: map[string]bool{"up": true}, values: make(map[string]map[string]bool)}
	for _, f := range metrics.Families() {
		v.series[f.Name] = f.Type != metrics.Histogram
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			v.series[f.Name+part] = f.Type == metrics.Histogram
		}
	}
	families, err := all.Gather()
	require.NoError(t, err)
	for _, f := range families {
		v.series[f.GetName()] = true
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if v.values[l.GetName()] == nil {
					v.values[l.GetName()] = make(map[string]bool)
				}
				v.values[l.GetName()][l.GetValue()] = true
			}
		}
	}
	v.values["status"] = map[string]bool{"2xx": true, "3xx": true, "4xx": true, "5xx": true}
	return v
}

var (
	grouping = regexp.MustCompile(`\b(by|without|on|ignoring)\s*\([^)]*\)`)
	selector = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	name     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*(\s*\()?`)
)

// check looks at each name of an expression.
func (v vocabulary) check(t *testing.T, where, expr string) {
	t.Helper()
	for _, m := range matcher.FindAllStringSubmatch(expr, -1) {
		if m[1] == "job" || m[1] == "instance" {
			continue
		}
		require.Equal(t, "=", m[2], "%s: %s", where, m[0])
		require.True(t, v.values[m[1]][m[3]], "%s: label %s never has the value %q", where, m[1], m[3])
	}
	bare := grouping.ReplaceAllString(selector.ReplaceAllString(expr, ""), "")
	found := 0
	for _, n := range name.FindAllString(bare, -1) {
		switch {
		case strings.HasSuffix(n, "("), n == "and", n == "or", n == "unless": // a function, an operator
		default:
			require.True(t, v.series[n], "%s: there is no series %s", where, n)
			found++
		}
	}
	require.Positive(t, found, "%s: %s", where, expr)
}

func TestDashboard(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(deploy, "grafana", "waylume.json"))
	require.NoError(t, err)
	var dashboard struct {
		UID        string
		Templating struct {
			List []struct{ Name, Query string }
		}
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &dashboard))
	v := learn(t)
	ids := make(map[int]bool)
	var rows []string
	used := make(map[string]bool)
	for _, p := range dashboard.Panels {
		require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			v.check(t, p.Title, target.Expr)
			require.Contains(t, target.Expr, `job="$job",instance=~"$instance"`, p.Title)
			for _, n := range name.FindAllString(target.Expr, -1) {
				used[strings.TrimSuffix(strings.TrimSuffix(n, "_bucket"), "_sum")] = true
			}
		}
	}
	require.Equal(t, []string{"Node health", "Traffic", "Peers", "Quotas", "API", "Fleet and load", "Runtime"}, rows)
	for _, f := range metrics.Families() {
		for _, prefix := range []string{"waylume_http_", "waylume_store_commit_", "waylume_fleet_", "waylume_load_", "waylume_scaling_"} {
			if strings.HasPrefix(f.Name, prefix) {
				require.True(t, used[f.Name], "the dashboard does not show %s", f.Name)
			}
		}
	}
}

type rule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	readYAML(t, "alerts.yml", &file)
	require.Len(t, file.Groups, 1)
	return file.Groups[0].Rules
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deploy, "prometheus", file))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(raw, into))
}

func TestAlertRules(t *testing.T) {
	v := learn(t)
	doc, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, r := range rules(t) {
		v.check(t, r.Alert, r.Expr)
		require.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
		_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "/docs/metrics.md#")
		require.Equal(t, strings.ToLower(r.Alert), anchor)
		require.Contains(t, string(doc), "\n### "+r.Alert+"\n", "the page does not say what to do")
	}
}

// Each alert is tested to fire, and not to.
func TestAlertTestsAreWhole(t *testing.T) {
	var file struct {
		Tests []struct {
			Rules []struct {
				Alert  string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "alerts_test.yml", &file)
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, test := range file.Tests {
		for _, r := range test.Rules {
			fires[r.Alert] = fires[r.Alert] || len(r.Alerts) > 0
			silent[r.Alert] = silent[r.Alert] || len(r.Alerts) == 0
		}
	}
	for _, r := range rules(t) {
		require.True(t, fires[r.Alert], "%s is not tested to fire", r.Alert)
		require.True(t, silent[r.Alert], "%s is not tested to be silent", r.Alert)
	}
}

func TestPromtool(t *testing.T) {
	promtool := testutil.RequireTool(t, "promtool", "prometheus")
	for _, args := range [][]string{
		{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}, {"check", "config", "prometheus.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = filepath.Join(deploy, "prometheus")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "promtool %s: %s", strings.Join(args, " "), out)
	}
}

// What is exposed is what Prometheus's own tool has nothing against.
func TestPromtoolMetrics(t *testing.T) {
	promtool := testutil.RequireTool(t, "promtool", "prometheus")
	node, _ := start(t)
	_, err := node.AddPeer(t.Context(), wgnode.PeerSpec{})
	require.NoError(t, err)
	requests := metrics.NewHTTP(metrics.HTTPOptions{})
	certificate := metrics.NewCertificate(func() time.Time { return time.Unix(1.9e9, 0) })
	store := metrics.MeasureStore(wgnode.NewMemoryStore())
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(text(t, collector(t, node, metrics.Options{PerPeer: true}), requests, store, certificate,
		metrics.NewFleet(member), metrics.NewLoad(loaded)))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}
