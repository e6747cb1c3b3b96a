package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

// table is every family, as the page has it.
func table() string {
	var b strings.Builder
	b.WriteString("| series | type | labels | what it says |\n|---|---|---|---|\n")
	for _, f := range metrics.Families() {
		labels := "-"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, labels, f.Help)
	}
	return b.String()
}

const (
	tableBegins = "<!-- series: go test ./wgnode/httpapi/metrics -run TestDocs -write -->\n"
	tableEnds   = "<!-- end of series -->\n"
)

// TestDocs compares the table of the page with the code; with -write it writes it.
func TestDocs(t *testing.T) {
	raw, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(raw), tableBegins)
	require.True(t, ok)
	inside, after, ok := strings.Cut(rest, tableEnds)
	require.True(t, ok)
	if flag.Lookup("write").Value.String() == "true" {
		require.NoError(t, os.WriteFile(page, []byte(before+tableBegins+table()+tableEnds+after), 0o644))
		return
	}
	require.Equal(t, table(), inside, "the page is not what the code has: go test ./wgnode/httpapi/metrics -run TestDocs -write")
}
