package metrics_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/waylume/waylume/internal/testutil"
)

var promqlBlock = regexp.MustCompile("(?s)```promql\n(.*?)```")

type (
	series struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	answered struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
	asked struct {
		Expr    string     `yaml:"expr"`
		At      string     `yaml:"eval_time"`
		Samples []answered `yaml:"exp_samples"`
	}
	scenario struct {
		Interval string   `yaml:"interval"`
		Series   []series `yaml:"input_series"`
		Asked    []asked  `yaml:"promql_expr_test"`
	}
)

// told is what a node of a job tells.
func told(job, instance string, score float64, signal string, peers int) []series {
	labels := fmt.Sprintf(`instance=%q,job=%q`, instance, job)
	all := []series{
		{"waylume_load_score{" + labels + "}", fmt.Sprint(score)},
		{`waylume_peers{state="active",` + labels + "}", fmt.Sprint(peers)},
		{`waylume_peers{state="suspended",` + labels + "}", "1"},
	}
	for _, s := range []string{"steady", "scale_out", "scale_in"} {
		value := "0"
		if s == signal {
			value = "1"
		}
		all = append(all, series{fmt.Sprintf(`waylume_scaling_signal{signal=%q,%s}`, s, labels), value})
	}
	return all
}

// The queries of docs/scaling.md name series that there are, and answer what the page says that they do.
func TestScalingQueries(t *testing.T) {
	promtool := testutil.RequireTool(t, "promtool", "prometheus")
	raw, err := os.ReadFile("../../../docs/scaling.md")
	require.NoError(t, err)
	blocks := promqlBlock.FindAllStringSubmatch(string(raw), -1)
	answers := [][]answered{
		{{`{job="busy"}`, 4}, {`{job="half"}`, 2}, {`{job="idle"}`, 1}, {`{job="pair"}`, 1}},
		{{`{job="busy"}`, 2}},
		{{`{job="idle"}`, 1}},
		{
			{`{job="busy",instance="b3"}`, 4}, {`{job="half",instance="h2"}`, 5},
			{`{job="idle",instance="i2"}`, 2}, {`{job="pair",instance="p1"}`, 4},
		},
	}
	require.Len(t, blocks, len(answers))
	s := scenario{Interval: "1m"}
	for _, all := range [][]series{
		told("busy", "b1", 0.9, "scale_out", 5), told("busy", "b2", 0.85, "scale_out", 5), told("busy", "b3", 0.5, "steady", 3),
		told("half", "h1", 0.9, "scale_out", 5), told("half", "h2", 0.25, "steady", 4),
		told("idle", "i1", 0.1, "scale_in", 3), told("idle", "i2", 0.2, "scale_in", 1), told("idle", "i3", 0.1, "scale_in", 2),
		told("pair", "p1", 0.1, "scale_in", 3), told("pair", "p2", 0.1, "scale_in", 4),
	} {
		s.Series = append(s.Series, all...)
	}
	v := learn(t)
	for i, block := range blocks {
		v.check(t, "docs/scaling.md", block[1])
		s.Asked = append(s.Asked, asked{block[1], "0m", answers[i]})
	}
	file, err := yaml.Marshal(map[string]any{"evaluation_interval": "1m", "tests": []scenario{s}})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "scaling_test.yml")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
