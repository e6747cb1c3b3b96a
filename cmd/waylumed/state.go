package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/wgnode/boltstore"
)

func stateCommand(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Check and restore a node's state file",
		Long: `State looks after the file that a node keeps peers, accounts and usage in, while
no node uses it. For a copy of one in use there is 'waylumed backup'.`,
		Example: `  waylumed state check /var/lib/waylume/node.db
  waylumed state restore monday.db /var/lib/waylume/node.db`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("say what to do with the state\nRun 'waylumed state --help' for what there is")}
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(stateCheckCommand(sys), stateRestoreCommand(sys))
	return cmd
}

// files wants the arguments that usage has, and says so.
func files(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("wants %s\nRun '%s --help' for what there is", cmd.Use, cmd.CommandPath())}
		}
		return nil
	}
}

func stateCheckCommand(sys system) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say what a state file holds, and what is damaged",
		Long: `Check reads all of a state file, or of a backup, and says what it holds, what is
damaged, what can be saved, and what to do. It changes nothing.

The exit status is 0 if the file is sound, 1 if it is not or cannot be read.`,
		Example: `  waylumed state check /var/lib/waylume/node.db`,
		Args:    files(1),
		RunE: func(_ *cobra.Command, args []string) error {
			report, err := boltstore.Check(args[0])
			if errors.Is(err, boltstore.ErrLocked) {
				return fmt.Errorf("%w\nMake a backup with 'waylumed backup', and check that", err)
			}
			if err != nil {
				return err
			}
			state.Show(sys.stdout, report)
			if report.Err() != nil {
				return errSilent
			}
			return nil
		},
	}
}

func stateRestoreCommand(sys system) *cobra.Command {
	var opts boltstore.RestoreOptions
	cmd := &cobra.Command{
		Use:   "restore BACKUP FILE",
		Short: "Put a backup in place of a state file",
		Long: `Restore checks a backup, and puts a copy of it in place of a state file that no
node uses. The file that was there is kept beside it, and its new name is shown.

Peers' counters are then those of the backup. What was added since is unknown to
the node, and what was removed since is back. The node's private key is not in a
backup: its file must be there too, or 'waylumed up' refuses the state.`,
		Example: `  waylumed state restore monday.db /var/lib/waylume/node.db
  waylumed state restore --accept-older damaged.db /var/lib/waylume/node.db`,
		Args: files(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			restored, err := boltstore.Restore(cmd.Context(), args[0], args[1], opts)
			if err != nil {
				return err
			}
			state.Show(sys.stdout, restored.Report)
			fmt.Fprintln(sys.stdout, state.AboutKey(filepath.Dir(args[1])))
			if restored.Aside != "" {
				fmt.Fprintf(sys.stdout, "The file that was there is now %s\n", restored.Aside)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&opts.AcceptOlder, "accept-older", false,
		"take a file with one damaged root page, which may lack its last commit")
	return cmd
}
