package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/usage"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
)

// usageFlags are the words of a command line about usage.
type usageFlags struct{ state, peer, account, from, to, by string }

func usageCommand(sys system) *cobra.Command {
	var f usageFlags
	a := &asking{sys: sys}
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what peers and accounts used in an hour, a day, or any time",
		Long: `Usage shows what each peer and account downloaded and uploaded, in bytes of IP
packets inside the tunnel, from the log that a node writes beside its state. The
node may run or not. Peers and accounts that were removed are shown, too, as long
as the log is kept.

With --api, or WAYLUME_API in the environment and no --state, the log of the daemon
there is asked for, and the result is the same.

Times are RFC 3339, as 2026-11-21T06:00:00Z, or a date, which is its midnight in
UTC. Without --from it is today's, with --by day that of six days before; without
--to it is now. Hours and days count from --from, so that days of another time
zone are those after a --from like 2026-11-21T00:00:00+01:00.

All counters are read at the quarters of an hour, or as 'waylumed up' was told;
what was used after the last reading is not in the log yet. The number is the
one that the node gave a peer or an account when it was added. What a peer used
under the key of --peer and under others in that time is shown for each key, with
the same number.

With --json the result is one object. Its "schema" is "` + usage.Schema + `", and under
that name no field is renamed or removed: "from", "to", "covers" (the time that
is known, or null), "damage", and "steps", each with "from", "to", "covers" and
"usages" of "kind", "name", "sequence", "download_bytes" and "upload_bytes".`,
		Example: `  waylumed usage
  waylumed usage --account family --by day
  waylumed usage --from 2026-11-20 --to 2026-11-21 --by hour --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.state = f.state
			q, err := f.query(sys, time.Now(), !a.named())
			if err != nil {
				return usageError{err}
			}
			if !a.named() {
				report, err := usage.Ask(cmd.Context(), q)
				if err != nil {
					return err
				}
				return a.show(report, report.Write)
			}
			return a.do(cmd, auth.PeersRead, func(ctx context.Context, c *client.Client) error {
				report, err := usage.AskAPI(ctx, c, q)
				if err != nil {
					return err
				}
				return a.show(report, report.Write)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.state, "state", "", "`directory` of the node's state (default where up has it)")
	flags.StringVar(&f.peer, "peer", "", "show the peer with this public `key` alone")
	flags.StringVar(&f.account, "account", "", "show the account with this `ID` alone")
	flags.StringVar(&f.from, "from", "", "the `time` after which usage counts (default midnight)")
	flags.StringVar(&f.to, "to", "", "the `time` up to which it counts (default now)")
	flags.StringVar(&f.by, "by", "", "show it by `step`: hour or day")
	flags.BoolVar(&a.asJSON, "json", false, "print the result as JSON")
	a.apiFlags(cmd, flags)
	if err := cmd.MarkFlagDirname("state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	if err := cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{"hour", "day"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
	return cmd
}

const day = 24 * time.Hour

// query reads the flags, and names everything that is wrong with them. A local one is of a log.
func (f usageFlags) query(sys system, now time.Time, local bool) (usage.Query, error) {
	var problems []string
	wrong := func(flag, format string, args ...any) {
		problems = append(problems, "--"+flag+": "+fmt.Sprintf(format, args...))
	}
	q := usage.Query{Peer: f.peer, Account: f.account, To: now.UTC().Truncate(time.Second)}
	q.From = q.To.Truncate(day)
	switch f.by {
	case "":
	case "hour":
		q.By = time.Hour
	case "day":
		q.By, q.From = day, q.From.Add(-6*day)
	default:
		wrong("by", "%q is not a step: give hour or day", f.by)
	}
	for _, t := range []struct {
		flag, text string
		at         *time.Time
	}{{"from", f.from, &q.From}, {"to", f.to, &q.To}} {
		if t.text == "" {
			continue
		}
		var err error
		if *t.at, err = parseTime(t.text); err != nil {
			wrong(t.flag, "%q is not a time: give one as 2026-11-21T06:00:00Z, or a date", t.text)
		}
	}
	if len(problems) == 0 && !q.From.Before(q.To) {
		wrong("from", "%s is not before %s, up to which usage counts", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	}
	if f.peer != "" {
		if _, err := wgtypes.ParseKey(f.peer); err != nil {
			wrong("peer", "%q is not a public key", f.peer)
		}
		if f.account != "" {
			wrong("account", "is given beside --peer: give one of them")
		}
	}
	dir := f.state
	if dir == "" && local {
		home, _ := os.UserHomeDir() // without one, --state is asked for
		if dir = state.Dir(sys.getenv, os.Geteuid() == 0, home); dir == "" {
			wrong("state", "there is no home to look for the state in: name its directory")
		}
	}
	q.Dir = state.Usage(dir)
	if len(problems) > 0 {
		return usage.Query{}, errors.New(strings.Join(problems, "\n"))
	}
	return q, nil
}

// parseTime reads a time with its zone, or a date in UTC.
func parseTime(text string) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, text)
}
