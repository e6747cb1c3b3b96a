package postgres_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func errorIs(err, target error) bool { return errors.Is(err, target) }

func deleteString(all []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(x string) bool { return x == s })
}

// requireInvalid has a function refuse what it is given.
func requireInvalid(t *testing.T, conn *pgx.Conn, function string, in any) {
	t.Helper()
	text, err := json.Marshal(in)
	require.NoError(t, err)
	var answer []byte
	err = conn.QueryRow(t.Context(), "select "+function+"($1::jsonb)", string(text)).Scan(&answer)
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg, "%s(%s)", function, text)
	require.Equal(t, "WL001", pg.Code, "%s(%s): %v", function, text, err)
}
