package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/status"
)

func statusCommand(sys system) *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is wrong with a node that runs, and its peers' connections",
		Long: `Status asks a node that runs how it is, through a socket beside its state, which
only its own user and root may use. It shows what is wrong, since when, and what
to do about it; and of each peer whether it is online, idle, stale, unreachable,
never connected or inactive, its last handshake, its endpoint and how often that
changed, its throughput now, and the share of handshakes that failed. What that
means is in docs/health.md.

It ends with exit status 1 when something is wrong, or no node runs.

With --json the result is one object. Its "schema" is "` + status.Schema + `", and
under that name no field is renamed or removed. Of a peer, what is not known is
left out.`,
		Example: `  waylumed status
  waylumed status --json | jq -r '.problems[].what'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				home, _ := os.UserHomeDir() // without one, --state is asked for
				if dir = state.Dir(sys.getenv, os.Geteuid() == 0, home); dir == "" {
					return usageError{errors.New("there is no home to look for the state in: name its directory with --state")}
				}
			}
			var answer bytes.Buffer
			err := control.Report(cmd.Context(), state.Socket(filepath.Clean(dir)), &answer)
			if errors.Is(err, control.ErrNobody) {
				return fmt.Errorf("%w\nRun one with 'waylumed up', or name its directory with --state", err)
			}
			if err != nil {
				return err
			}
			report, err := status.Read(answer.Bytes())
			if err != nil {
				return err
			}
			if asJSON {
				_, err = sys.stdout.Write(answer.Bytes())
			} else {
				status.Show(console.New(sys.stdout, sys.getenv), report)
			}
			if err == nil && len(report.Problems) > 0 {
				return errSilent
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "state", "", "`directory` of the node's state (default where up has it)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	if err := cmd.MarkFlagDirname("state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	return cmd
}
