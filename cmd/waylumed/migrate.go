package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/registry/postgres/migrations"
)

func migrateCommand(sys system) *cobra.Command {
	var database, file string
	var status, show bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Make or bring up to date the schema of a fleet's database",
		Long: `Migrate applies to a PostgreSQL database what its schema lacks of a fleet's, each
step in a transaction of its own. It may be run again, and by several at once; a
schema that is up to date stays as it is. A daemon never does this.

Who connects owns the tables afterwards. The role needs CREATE on the schema public
and, for the roles waylume_node and waylume_control, CREATEROLE; without the latter
somebody else makes these, and the owner runs "select waylume_grants()" after that.

With --status it changes nothing and lists what the database has and lacks: the
exit status is 0 if it lacks nothing, 1 if it does. With --print it asks no database
and writes the SQL, for psql.

The file of --database-file has one line, the DSN, and should be readable for its
owner alone. A DSN on the command line is seen by whoever may list processes: give
it without the password, which then comes from the environment variable PGPASSWORD
or from ~/.pgpass.`,
		Example: `  waylumed migrate --database postgres://owner@db.example.com/fleet
  waylumed migrate --database-file /etc/waylume/database --status
  waylumed migrate --print | psql fleet`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case show && (database != "" || file != "" || status):
				return usageError{errors.New("--print asks no database: give it alone")}
			case show:
				return printMigrations(sys.stdout)
			case (database == "") == (file == ""):
				return usageError{errors.New("say which database: --database DSN or --database-file FILE, one of them")}
			}
			dsn, err := readDSN(database, file)
			if err != nil {
				return err
			}
			if status {
				return migrationStatus(cmd.Context(), sys.stdout, dsn)
			}
			return migrate(cmd.Context(), sys.stdout, dsn)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&database, "database", "", "`DSN` of the database: a URL, or in the form of libpq")
	flags.StringVar(&file, "database-file", "", "`file` that has the DSN")
	flags.BoolVar(&status, "status", false, "list what the database has and lacks")
	flags.BoolVar(&show, "print", false, "write the SQL")
	return cmd
}

func readDSN(database, file string) (string, error) {
	if file == "" {
		return database, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--database-file: %w", err)
	}
	dsn := bytes.TrimSpace(content)
	if len(dsn) == 0 || bytes.ContainsAny(dsn, "\r\n") {
		return "", fmt.Errorf("--database-file: %s is to have one line, the DSN", file)
	}
	return string(dsn), nil
}

func printMigrations(w io.Writer) error {
	script, err := migrations.SQL()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, script)
	return err
}

func migrate(ctx context.Context, w io.Writer, dsn string) error {
	applied, err := migrations.Up(ctx, dsn)
	for _, m := range applied {
		fmt.Fprintf(w, "applied %s\n", m.Name)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if len(applied) == 0 {
		fmt.Fprintln(w, "The schema is up to date.")
	}
	return nil
}

func migrationStatus(ctx context.Context, w io.Writer, dsn string) error {
	all, err := migrations.Status(ctx, dsn)
	if err != nil {
		return fmt.Errorf("migrate --status: %w", err)
	}
	lacks := 0
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range all {
		since := "lacking"
		if m.AppliedAt.IsZero() {
			lacks++
		} else {
			since = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\n", m.Name, since)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if lacks > 0 {
		fmt.Fprintf(w, "The database lacks %d of %d: run waylumed migrate without --status.\n", lacks, len(all))
		return errSilent
	}
	return nil
}
