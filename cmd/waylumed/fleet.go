package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func fleetCommand(sys system) *cobra.Command {
	return group(&cobra.Command{
		Use:   "fleet",
		Short: "See how a daemon stands with its fleet, give it another key there, or have it leave",
		Long: `Fleet is about the fleet that a daemon is in, as fleet.url or fleet.database of its
settings say. A daemon joins by itself: 'waylumed run' with fleet.url and a token.`,
		Example: `  waylumed fleet status
  waylumed fleet rotate`,
	}, fleetStatusCommand(sys), fleetRotateCommand(sys), fleetLeaveCommand(sys))
}

func fleetStatusCommand(sys system) *cobra.Command {
	return fleetAsking(sys, &cobra.Command{
		Use:   "status",
		Short: "Say how a daemon stands with its fleet",
		Long: `Status says whether the daemon is in its fleet, since when, what the fleet said last,
and what waits to be told. The exit status is 1 if it is not in it.

` + whereAPI + `

With --json the answer is one object.`,
		Example: `  waylumed fleet status --json | jq -r .phase`,
	}, func(ctx context.Context, c *client.Client) (api.Fleet, error) { return c.Fleet(ctx) })
}

func fleetRotateCommand(sys system) *cobra.Command {
	return fleetAsking(sys, &cobra.Command{
		Use:   "rotate",
		Short: "Give a daemon another key for what it says to its fleet",
		Long: `Rotate has the daemon make a key and the fleet take it. The former one is revoked when
the new one is used first. After a failure, ask again.

` + whereAPI + `

With --json the answer is how the daemon stands with its fleet.`,
		Example: `  waylumed fleet rotate`,
	}, func(ctx context.Context, c *client.Client) (api.Fleet, error) { return c.RotateFleetCredential(ctx) })
}

func fleetLeaveCommand(sys system) *cobra.Command {
	return fleetAsking(sys, &cobra.Command{
		Use:   "leave",
		Short: "Take a daemon off its fleet",
		Long: `Leave has the daemon report what its peers used, and deregister: the fleet moves their
sessions at once. The daemon goes on serving the peers that it has. It joins again when
it is started, unless fleet.url is taken out of its settings.

` + whereAPI + `

With --json the answer is how the daemon stands with its fleet.`,
		Example: `  waylumed fleet leave`,
	}, func(ctx context.Context, c *client.Client) (api.Fleet, error) { return c.LeaveFleet(ctx) })
}

// fleetAsking is a command that asks a daemon about its fleet. The exit status says whether it is where it was to be.
func fleetAsking(sys system, cmd *cobra.Command, do func(context.Context, *client.Client) (api.Fleet, error)) *cobra.Command {
	a := &asking{sys: sys}
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.do(cmd, auth.NodeAdmin, func(ctx context.Context, c *client.Client) error {
			f, err := do(ctx, c)
			if err != nil {
				return err
			}
			if err := a.show(f, say("%s", fleetInWords(f))); err != nil {
				return err
			}
			if cmd.Name() == "status" && f.Phase != "joined" {
				return errSilent
			}
			return nil
		})
	}
	a.flags(cmd, cmd.Flags())
	return cmd
}

// fleetInWords is a line for each thing there is to know.
func fleetInWords(f api.Fleet) string {
	text := "phase: " + f.Phase
	line := func(what, value string) {
		if value != "" {
			text += "\n" + what + ": " + value
		}
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	line("since", at(f.Since))
	line("server", f.Server)
	line("last answer", at(f.LastSuccess))
	line("error", f.Error)
	if f.Draining || f.FleetDraining {
		line("drained", map[bool]string{true: "as the fleet wants", false: "as the node wants"}[f.FleetDraining])
	}
	line("credential", f.Credential)
	return text
}
