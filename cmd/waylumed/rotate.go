package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/wgnode"
)

// rotateFlags are the words of a command line about the node's key.
type rotateFlags struct {
	state, overlap string
	now, end       bool
}

func rotateKeyCommand(sys system) *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Give a node that runs a new key",
		Long: `Rotate-key has a node that runs make a new key and use it from then on. The new
key is in the node's key file before it is used. Every device needs the new
public key in its configuration, as PublicKey under [Peer]; all else of it stays,
and so do peers and usage.

With --overlap nobody is cut off: devices that know the former key stay connected
and connect anew for that time, and 'waylumed status' shows which they are. The
former key is beside the key file, with ".former" at the end of its name, until
the time is over, or --end-overlap ends it. This is for a change as a matter of
routine: whoever has the former key can pose as the node until then. WireGuard's
kernel module has one key only, and there a node refuses it.

With --now every device is cut off until it has the new public key, and the
former key is kept nowhere. This is for a key that was stolen.

The node is reached through a socket beside its state, which only its own user
and root may use. For a node that cannot run, put another key into its key file
and start it with --accept-new-key.`,
		Example: `  waylumed rotate-key --overlap 7d
  waylumed rotate-key --end-overlap
  waylumed rotate-key --now --state /var/lib/waylume`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			overlap, err := f.read(cmd.Flags().Changed("overlap"))
			if err != nil {
				return usageError{err}
			}
			dir, err := stateDir(sys, f.state)
			if err != nil {
				return err
			}
			return f.rotate(cmd.Context(), sys.stdout, state.Socket(filepath.Clean(dir)), overlap)
		},
	}
	cmd.Flags().StringVar(&f.overlap, "overlap", "", "the `time`, in days or hours, for which devices that know the former key connect")
	cmd.Flags().BoolVar(&f.now, "now", false, "cut every device off that does not know the new key")
	cmd.Flags().BoolVar(&f.end, "end-overlap", false, "no new key: cut the devices off that still know the former one")
	cmd.Flags().StringVar(&f.state, "state", "", "`directory` of the node's state (default where up has it)")
	if err := cmd.MarkFlagDirname("state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	return cmd
}

// read returns the overlap, 0 for none, if just one thing is asked for.
func (f rotateFlags) read(overlaps bool) (time.Duration, error) {
	asked := 0
	for _, is := range []bool{overlaps, f.now, f.end} {
		if is {
			asked++
		}
	}
	switch {
	case asked == 0:
		return 0, errors.New("say what becomes of devices that know the present key: --overlap 7d lets them connect for that long, " +
			"and --now cuts every device off until it is told the new public key. An overlap that is under way ends with --end-overlap")
	case asked > 1:
		return 0, errors.New("--overlap, --now and --end-overlap exclude each other: give one of them")
	case !overlaps:
		return 0, nil
	}
	d, err := words.Duration(f.overlap)
	if err == nil && (d < wgnode.MinKeyOverlap || d > wgnode.MaxKeyOverlap) {
		err = fmt.Errorf("is %s: give %s to %s, or --now for none", f.overlap, words.InWords(wgnode.MinKeyOverlap), words.InWords(wgnode.MaxKeyOverlap))
	}
	if err != nil {
		return 0, fmt.Errorf("--overlap: %w", err)
	}
	return d, nil
}

// rotate asks the node, and says what to do next.
func (f rotateFlags) rotate(ctx context.Context, out io.Writer, socket string, overlap time.Duration) error {
	ask := func() (control.Keys, error) { return control.RotateKey(ctx, socket, overlap) }
	if f.end {
		ask = func() (control.Keys, error) { return control.EndKeyOverlap(ctx, socket) }
	}
	keys, err := ask()
	switch {
	case errors.Is(err, control.ErrNobody):
		return fmt.Errorf("%w\nStart the node with 'waylumed up', or name the directory of its state with --state", err)
	case err != nil && strings.Contains(err.Error(), wgnode.ErrKeyOverlap.Error()): // as the node said it
		return fmt.Errorf("%w\nHere these are 'waylumed rotate-key --end-overlap', and --now", err)
	case err != nil && strings.Contains(err.Error(), "there is no verb"):
		return fmt.Errorf("%w\nThe node that runs is of an earlier version, which knows no overlap: start it anew with this waylumed", err)
	case err != nil:
		return err
	case f.end && keys.Former == "":
		fmt.Fprintf(out, "There is no overlap: only devices that know the node's public key connect, %s\n", keys.Public)
		return nil
	case f.end:
		fmt.Fprintf(out, "The overlap is over. Only devices that know the node's public key connect, %s\n"+
			"Those that still know the former one, %s, cannot until they are told.\n", keys.Public, keys.Former)
		return nil
	}
	until := "Until then it cannot connect."
	if !keys.OverlapEnds.IsZero() {
		until = fmt.Sprintf("Until %s\nthose connect, too, that have the former one: 'waylumed status' shows which they are, and\n"+
			"'waylumed rotate-key --end-overlap' cuts them off before.", keys.OverlapEnds.Local().Format(time.DateTime))
	}
	fmt.Fprintf(out, "The node's public key is now %s\nIt was %s\nOn each device, put the new one as PublicKey under [Peer]. %s\n"+
		"Keep a copy of the new key file: copies of the former one are of no use%s.\n", keys.Public, keys.Former, until,
		map[bool]string{true: " after that"}[!keys.OverlapEnds.IsZero()])
	return nil
}
