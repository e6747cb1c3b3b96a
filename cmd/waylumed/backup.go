package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/wgnode/boltstore"
)

func backupCommand(sys system) *cobra.Command {
	var opts boltstore.BackupOptions
	var dir string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy a node's state, while it runs",
		Long: `Backup writes a copy of a node's state as it is at one moment, and checks it. The
node may run: it hands the copy out through a socket beside its state, which only
its own user and root may use. The file is for its owner only, as it holds preshared keys. The node's private key
is not in it, but in a file of its own: keep a copy of that too, apart.

'waylumed state check' reads it, and 'waylumed state restore' puts it back.`,
		Example: `  waylumed backup monday.db
  waylumed backup --force --state /var/lib/waylume /mnt/node.db`,
		Args: files(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if dir, err = stateDir(sys, dir); err != nil {
				return err
			}
			report, running, err := state.Backup(cmd.Context(), filepath.Clean(dir), args[0], opts)
			if err != nil {
				return err
			}
			state.Show(sys.stdout, report)
			from := "its file, which no node uses"
			if running {
				from = "the node that runs"
			}
			fmt.Fprintf(sys.stdout, "A backup of the state in %s, from %s.\n%s\n", dir, from, state.AboutKey(dir))
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "state", "", "`directory` of the node's state (default where up has it)")
	cmd.Flags().BoolVar(&opts.Overwrite, "force", false, "replace a file that is there")
	if err := cmd.MarkFlagDirname("state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	return cmd
}

// stateDir is the directory of a node's state: the one that is named, else where up has it.
func stateDir(sys system, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	home, _ := os.UserHomeDir() // without one, --state is asked for
	dir := state.Dir(sys.getenv, os.Geteuid() == 0, home)
	if dir == "" {
		return "", usageError{errors.New("there is no home to look for the state in: name its directory with --state")}
	}
	return dir, nil
}
