package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/status"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
)

func statusCommand(sys system) *cobra.Command {
	a := &asking{sys: sys}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is wrong with a node that runs, and its peers' connections",
		Long: `Status asks a node that runs how it is, through a socket beside its state, which
only its own user and root may use. It shows what is wrong, since when, and what
to do about it; and of each peer whether it is online, idle, stale, unreachable,
never connected or inactive, its last handshake, its endpoint and how often that
changed, its throughput now, and the share of handshakes that failed. What that
means is in docs/health.md.

With --api, or WAYLUME_API in the environment, a daemon is asked through its API
instead, as it is where only that answers; then it shows the node as GET /api/v1/node
has it, and --json prints just that. 'waylumed peers show' tells of a peer.

It ends with exit status 1 when something is wrong, or no node runs.

Else, with --json, the result is one object. Its "schema" is "` + status.Schema + `", and
under that name no field is renamed or removed. Of a peer, what is not known is
left out.`,
		Example: `  waylumed status
  waylumed status --json | jq -r '.problems[].what'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.named() {
				return a.showNode(cmd)
			}
			dir, err := stateDir(sys, a.state)
			if err != nil {
				return err
			}
			var answer bytes.Buffer
			err = control.Report(cmd.Context(), state.Socket(filepath.Clean(dir)), &answer)
			if _, missing := os.Stat(ask.Socket(dir)); errors.Is(err, control.ErrNobody) && missing == nil {
				return a.showNode(cmd)
			}
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
			if a.asJSON {
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
	cmd.Flags().StringVar(&a.state, "state", "", "`directory` of the node's state (default where up has it)")
	cmd.Flags().BoolVar(&a.asJSON, "json", false, "write the report as JSON")
	if err := cmd.MarkFlagDirname("state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	a.apiFlags(cmd, cmd.Flags())
	return cmd
}

// showNode asks a daemon how its node is.
func (a *asking) showNode(cmd *cobra.Command) error {
	return a.do(cmd, auth.NodeAdmin, func(ctx context.Context, c *client.Client) error {
		node, err := c.Node(ctx)
		if err != nil {
			return err
		}
		err = a.show(node, func(out console.Console) error { return ask.ShowNode(out, node) })
		if err == nil && len(node.Problems) > 0 {
			return errSilent
		}
		return err
	})
}
