package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func drainCommand(sys system) *cobra.Command {
	return drainOrNot(sys, &cobra.Command{
		Use:   "drain",
		Short: "Have a daemon that runs refuse new peers",
		Long: `Drain has the node take no new peers from now on. Those that it has stay, and can
connect. 'waylumed undrain' ends it.

` + whereAPI + `

With --json the answer is the node.`,
		Example: `  waylumed drain
  waylumed drain --api https://node.example.com:8443 --token-file admin.token`,
	}, "The node takes no new peers any more. It has %d, which stay.",
		func(ctx context.Context, c *client.Client) (api.Node, error) { return c.Drain(ctx) })
}

func undrainCommand(sys system) *cobra.Command {
	return drainOrNot(sys, &cobra.Command{
		Use:   "undrain",
		Short: "Have a daemon that was drained take new peers again",
		Long: `Undrain has the node take new peers again.

` + whereAPI + `

With --json the answer is the node.`,
		Example: `  waylumed undrain`,
	}, "The node takes new peers. It has %d.",
		func(ctx context.Context, c *client.Client) (api.Node, error) { return c.Undrain(ctx) })
}

func drainOrNot(sys system, cmd *cobra.Command, done string, change func(context.Context, *client.Client) (api.Node,
	error)) *cobra.Command {
	a := &asking{sys: sys}
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.do(cmd, auth.NodeAdmin, func(ctx context.Context, c *client.Client) error {
			node, err := change(ctx, c)
			if err != nil {
				return err
			}
			return a.show(node, say(done, node.Peers))
		})
	}
	a.flags(cmd, cmd.Flags())
	return cmd
}
