package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/demo"
)

func demoCommand(sys system) *cobra.Command {
	var asJSON, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See a node work: a node and its peers on the loopback, measured",
		Long: `Demo starts a real node in this process, connects real WireGuard clients to it
over UDP on the loopback, moves real bytes to servers that stand for the
internet, and measures what comes through: speed limits and latency, a limit
that peers of an account share, data caps, and who can reach whom.

It needs no root, no file and no network but the loopback, and takes about 20
seconds. Tables go to the standard output, progress to the standard error.
The exit status is 0 only if every row holds. A row that does not is measured
again by itself, at most twice, since the machine may have been busy.

With --json the result is one object. Its "schema" is "` + demo.Schema + `", and under
that name no field is renamed or removed: "ok", "speeds", "account_limits",
"data_caps", "throttles" and "isolation" are the tables, and each row has "ok",
"attempts" and, when it does not hold, "problems". Fields ending in _bps are
bit/s and those ending in _bytes bytes of IP packets inside the tunnel; _ms are
milliseconds.`,
		Example: `  waylumed demo
  waylumed demo --json | jq '.isolation[] | {name, expected, got}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status := console.NewStatus(console.New(sys.stderr, sys.getenv))
			defer status.Close()
			opts := demo.Options{Progress: status}
			if verbose {
				opts.Logger = newLogger(sys.stderr, true)
			}
			report, err := demo.Run(cmd.Context(), opts)
			status.Close()
			if err != nil {
				return err
			}
			if err := writeReport(sys, report, asJSON); err != nil {
				return err
			}
			if !report.OK {
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what the node logs")
	return cmd
}

func writeReport(sys system, report *demo.Report, asJSON bool) error {
	if !asJSON {
		return report.Write(console.New(sys.stdout, sys.getenv))
	}
	encoder := json.NewEncoder(sys.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}
