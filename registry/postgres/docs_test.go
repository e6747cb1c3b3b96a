package postgres_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The statements that the documentation shows for psql can be executed.
func TestDocumentedStatements(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/fleet-postgres.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "## Looking at it with psql")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	dsn := database(t)
	fleet := open(t, dsn)
	join(t, fleet, "fra-1")
	begin(t, fleet, "ann")
	conn := sqlConn(t, dsn)
	statements := 0
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(section, -1) {
		for statement := range strings.SplitSeq(block[1], ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			statements++
			_, err := conn.Exec(t.Context(), statement)
			require.NoError(t, err, statement)
		}
	}
	require.Equal(t, 7, statements)
}

// Every function that a role may execute is in the documentation, and no other.
func TestDocumentedFunctions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/fleet-postgres.md")
	require.NoError(t, err)
	conn := sqlConn(t, database(t))
	there := ask[[]string](t, conn, `select array_agg(distinct proname::text) from pg_proc
		where pronamespace = 'public'::regnamespace and proname ~ '^waylume_[a-z]'`)
	_, section, _ := strings.Cut(string(text), "## The functions")
	section, _, _ = strings.Cut(section, "\n## ")
	var named []string
	for _, match := range regexp.MustCompile("`(waylume_[a-z_]+)\\(").FindAllStringSubmatch(section, -1) {
		named = append(named, match[1])
	}
	require.ElementsMatch(t, there, named)
}
