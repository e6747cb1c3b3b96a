package main

import (
	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// limitHelp is in the help of both limit commands.
const limitHelp = `RATE is for each direction; --download and --upload change one alone. Rates are as
tc(8) has them: 20mbit, 1.5gbit, 800kbit, or none.`

// capHelp is in the help of both cap commands.
const capHelp = `AMOUNT has an IEC or an SI unit, as 5GiB or 500MB, or is none, which takes the cap
away. What no flag is about stays as it is. A period is daily, weekly, monthly, none,
or a length of time, as 24h or 30d, for one that rolls.`

func (a *asking) limitPeer() *cobra.Command {
	var l ask.LimitWords
	cmd := &cobra.Command{
		Use:   "limit PEER [RATE]",
		Short: "Change a peer's speed limit",
		Long:  "Limit changes a peer's own speed limit.\n\n" + limitHelp + "\n\n" + whichPeer,
		Example: `  waylumed peers limit phone 20mbit
  waylumed peers limit phone --download 100mbit --upload none`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.peers(1, suggest(limits()...)),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Both = optional(args)
			patch, err := l.Patch()
			if err != nil {
				return usageError{err}
			}
			return a.changePeer(cmd, args[0], api.PeerPatch{SpeedLimit: patch},
				func(p api.Peer) string { return "speed limit " + ask.Limit(p.SpeedLimit) })
		},
	}
	directionFlags(cmd, &l)
	return cmd
}

func (a *asking) capPeer() *cobra.Command {
	var w ask.CapWords
	cmd := &cobra.Command{
		Use:   "cap PEER [AMOUNT]",
		Short: "Change a peer's data cap",
		Long:  "Cap changes a peer's own data cap.\n\n" + capHelp + "\n\n" + whichPeer,
		Example: `  waylumed peers cap phone 100GiB --period monthly
  waylumed peers cap phone --throttle 1mbit
  waylumed peers cap phone none`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.peers(1, suggest(amounts()...)),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.Amount = optional(args)
			patch, err := w.Patch()
			if err != nil {
				return usageError{err}
			}
			return a.changePeer(cmd, args[0], api.PeerPatch{DataCap: patch},
				func(p api.Peer) string { return "data cap " + ask.Cap(p.DataCap) })
		},
	}
	capFlags(cmd, &w)
	return cmd
}

// optional is the second argument, if there is one.
func optional(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return args[1]
}

func limits() []string { return []string{"10mbit", "20mbit", "50mbit", "100mbit", "none"} }

// directionFlags change one direction of a speed limit.
func directionFlags(cmd *cobra.Command, l *ask.LimitWords) {
	cmd.Flags().StringVar(&l.Download, "download", "", "limit towards the peer, a `rate` or none")
	cmd.Flags().StringVar(&l.Upload, "upload", "", "limit from the peer, a `rate` or none")
	complete(cmd, "download", suggest(limits()...))
	complete(cmd, "upload", suggest(limits()...))
}

// capFlags are all of a data cap but its amount.
func capFlags(cmd *cobra.Command, w *ask.CapWords) {
	f := cmd.Flags()
	f.StringVar(&w.Period, "period", "", "the `period` after which a cap begins anew")
	f.StringVar(&w.TimeZone, "time-zone", "", "the `zone` that daily, weekly and monthly are of, as Europe/Berlin")
	f.StringVar(&w.Counted, "counted", "", "the `directions` that count: both, download or upload")
	f.StringVar(&w.AtEnd, "at-end", "", "`what` happens when all is used: block or throttle")
	f.StringVar(&w.Throttle, "throttle", "", "the `rate` in each direction when all is used, instead of --at-end")
	for flag, values := range map[string][]string{
		"period": append(ask.Periods(), "24h", "30d"), "time-zone": nil, "counted": {"both", "download",
			"upload"}, "at-end": {"block", "throttle"},
		"throttle": {"64kbit", "512kbit", "1mbit"},
	} {
		complete(cmd, flag, suggest(values...))
	}
}

// limitFlags are those of a speed limit where there is none yet.
func limitFlags(cmd *cobra.Command, l *ask.LimitWords, c *ask.CapWords) {
	cmd.Flags().StringVar(&l.Both, "speed", "", "speed limit, a `rate` for each direction")
	directionFlags(cmd, l)
	cmd.Flags().StringVar(&c.Amount, "cap", "", "data cap, an `amount`")
	capFlags(cmd, c)
	complete(cmd, "speed", suggest(limits()...))
	complete(cmd, "cap", suggest(amounts()...))
}
