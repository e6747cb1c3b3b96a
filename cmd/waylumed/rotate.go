package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
)

func rotateKeyCommand(sys system) *cobra.Command {
	var dir string
	var now bool
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Give a node that runs a new key",
		Long: `Rotate-key has a node that runs make a new key and use it at once. The new key is
in the node's key file before it is used; the former one is kept nowhere.

Every device is cut off until it has the new public key in its configuration, as
PublicKey under [Peer]. All else of it stays, and so do peers and usage. As this
cuts everybody off, it wants --now.

The node is reached through a socket beside its state, which only its own user
and root may use. For a node that cannot run, put another key into its key file
and start it with --accept-new-key.`,
		Example: `  waylumed rotate-key --now
  waylumed rotate-key --now --state /var/lib/waylume`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if !now {
				return usageError{errors.New("every device is cut off until it is told the new public key: say --now if that is meant")}
			}
			if dir, err = stateDir(sys, dir); err != nil {
				return err
			}
			keys, err := control.RotateKey(cmd.Context(), state.Socket(filepath.Clean(dir)))
			if errors.Is(err, control.ErrNobody) {
				return fmt.Errorf("%w\nStart the node with 'waylumed up', or name the directory of its state with --state", err)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(sys.stdout, "The node's public key is now %s\nIt was %s\n"+
				"On each device, put the new one as PublicKey under [Peer]. Until then it cannot connect.\n"+
				"Keep a copy of the new key file: copies of the former one are of no use.\n", keys.Public, keys.Former)
			return nil
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "cut every device off that does not know the new key")
	cmd.Flags().StringVar(&dir, "state", "", "`directory` of the node's state (default where up has it)")
	if err := cmd.MarkFlagDirname("state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	return cmd
}
