package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
)

// eventFlags are the words of a command line about events.
type eventFlags struct {
	kinds, peers, accounts []string
	after                  string
	count                  uint
}

func eventsCommand(sys system) *cobra.Command {
	a := &asking{sys: sys}
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens to a daemon that runs, as it happens",
		Long: `Events shows a line for each thing that happens to the node: peers that come and
go, caps that are reached, problems that begin and end. It goes on until Ctrl-C, or
for --count events, and when the daemon is started anew it connects again. Events
that could not be had are told as "missed".

` + whereAPI + `

With --json each event is a JSON object on a line of its own. Its "boot" and
"sequence", joined by "-", say for --after where to go on.`,
		Example: `  waylumed events -f
  waylumed events --kind peer_added --kind peer_removed
  waylumed events --json | jq -r 'select(.kind == "threshold_reached") | .account'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.do(cmd, auth.NodeAdmin, func(ctx context.Context, c *client.Client) error { return a.follow(ctx, c, f) })
		},
	}
	flags := cmd.Flags()
	flags.BoolP("follow", "f", true, "go on with what happens next, as it does anyway")
	flags.StringArrayVar(&f.kinds, "kind", nil, "show this `kind` alone; may be given again")
	flags.StringArrayVar(&f.peers, "peer", nil, "show this `peer` alone; may be given again")
	flags.StringArrayVar(&f.accounts, "account", nil, "show this `account` alone; may be given again")
	flags.StringVar(&f.after, "after", "", "begin after the event with this `id`, not with the next one")
	flags.UintVar(&f.count, "count", 0, "end after so many events; 0: never")
	a.flags(cmd, flags)
	kinds := make([]string, 0, 32)
	for _, kind := range eventstream.Kinds() {
		kinds = append(kinds, string(kind))
	}
	complete(cmd, "kind", suggest(kinds...))
	complete(cmd, "peer", a.peers(-1))
	complete(cmd, "account", a.accounts(-1))
	complete(cmd, "after", suggest())
	return cmd
}

// follow shows events until there is an error, or enough.
func (a *asking) follow(ctx context.Context, c *client.Client, f eventFlags) error {
	query := url.Values{"kind": f.kinds, "account": f.accounts}
	if len(f.peers) > 0 {
		peers, err := ask.Find(ctx, c, f.peers)
		if err != nil {
			return err
		}
		for _, p := range peers {
			query.Add("peer", p.PublicKey.String())
		}
	}
	if _, err := c.Live(ctx); err != nil { // else a daemon that is not there would be waited for
		return err
	}
	out := console.New(a.sys.stdout, a.sys.getenv)
	source, at := c.EventSource(query)
	options := eventstream.ReadOptions{LastEventID: f.after, Retrying: func(err error, after time.Duration) {
		fmt.Fprintf(a.sys.stderr, "waylumed: %s; trying again in %v\n", ask.Clean(err.Error()), after.Round(time.Millisecond))
	}}
	var shown uint
	for event, err := range eventstream.Read(ctx, source, at, options) {
		if err != nil {
			return client.Refused("read events", err)
		}
		if a.asJSON {
			err = json.NewEncoder(a.sys.stdout).Encode(event)
		} else {
			err = ask.ShowEvent(out, event)
		}
		if shown++; err != nil || shown == f.count {
			return err
		}
	}
	return errors.New("the stream of events has ended")
}
