package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waylume/waylume/registry"
)

// Conditions by their SQLSTATE (PostgreSQL's documentation, appendix A).
const (
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
	readOnlyTransaction   = "25006"
	insufficientPrivilege = "42501"
	queryCanceled         = "57014" // by its time-out, or because the caller has gone
	undefinedFunction     = "42883"
	undefinedTable        = "42P01"
	undefinedColumn       = "42703"
	invalidSchema         = "3F000"
	undefinedDatabase     = "3D000"
	checkViolation        = "23514"
	dataException         = "22" // a class
	badAuthorization      = "28" // a class
)

// sentinel is the condition of an error that a function of the fleet, or the database, has raised.
func sentinel(code string) error {
	switch code {
	case "WL001":
		return registry.ErrInvalid
	case "WL002":
		return registry.ErrNameTaken
	case "WL003":
		return registry.ErrUnknownServer
	case "WL004":
		return registry.ErrSuperseded
	case "WL005", insufficientPrivilege:
		return registry.ErrDenied
	case "WL006":
		return registry.ErrGap
	case "WL007":
		return registry.ErrNoServer
	case "WL008":
		return registry.ErrUnknownSession
	case "WL009":
		return registry.ErrConflict
	case checkViolation:
		return registry.ErrInvalid
	}
	switch {
	case strings.HasPrefix(code, dataException):
		return registry.ErrInvalid
	case strings.HasPrefix(code, badAuthorization):
		return registry.ErrDenied
	}
	return registry.ErrUnavailable
}

// hint says what to do about a condition.
func hint(code string) string {
	switch code {
	case undefinedFunction, undefinedTable, undefinedColumn, invalidSchema:
		return ": is the database migrated? See waylumed migrate --status"
	case undefinedDatabase:
		return ": make the database, then run waylumed migrate"
	case insufficientPrivilege:
		return ": grant the role waylume_node or waylume_control to the role that connects"
	}
	return ""
}

// explain turns what pgx returns into a condition of package registry. ctx is the caller's: that it has ended is said beside.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	// Of two hosts one may be unreachable and the other have refused: what was refused is what can be mended.
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code != "" && (pg.Code != queryCanceled || ctx.Err() == nil) {
		return fmt.Errorf("%w: %w%s", sentinel(pg.Code), &refusal{pg}, hint(pg.Code))
	}
	if done := ctx.Err(); done != nil {
		return fmt.Errorf("%w: database: %w", registry.ErrUnavailable, done)
	}
	// The words alone: an error of pgx may have the whole configuration in it, with the password.
	return fmt.Errorf("%w: database: %s", registry.ErrUnavailable, words(err))
}

// words are those of an error in one line.
func words(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) {
		return "no answer in time"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// refusal is what the database has said, without its severity. The details of one of PostgreSQL's own errors may quote whole
// rows, and are left out.
type refusal struct{ *pgconn.PgError }

// Error has the SQLSTATE unless it is the fleet's.
func (r *refusal) Error() string {
	switch {
	case !strings.HasPrefix(r.Code, "WL"):
		return fmt.Sprintf("database: %s (SQLSTATE %s)", r.Message, r.Code)
	case r.Detail != "":
		return r.Detail
	default:
		return r.Message
	}
}

// Unwrap gives the error as pgx has it.
func (r *refusal) Unwrap() error { return r.PgError }
