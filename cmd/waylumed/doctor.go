package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/doctor"
)

func doctorCommand(sys system) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this host can do, and which dataplane it gets",
		Long: `Doctor shows what this host has of what the kernel dataplane uses, which other
firewalls there are, which dataplane 'waylumed up' takes when it is not told
which, and what to change for a better one, in order.

As root it tries everything in a network namespace that it makes for that and
that is gone afterwards; of the host itself nothing is changed, except that the
kernel loads the modules that are tried, as it does for a node. Without that
privilege it reads the kernel's configuration and its list of modules, and what
these do not settle is unknown.

With --json the result is one object. Its "schema" is "` + doctor.Schema + `", and
under that name no field is renamed or removed: "host", "features" (each
with "name", "answer", "need", "source", "purpose", "without", and where it is
not there "requires" and "reason"), "firewalls", "firewalls_unknown",
"iptables_legacy", and "verdict" with "dataplane", "driver", "reason",
"missing", "unsure" and "changes". An answer is there, absent or unknown; a need
is required, one driver (of the module and a TUN) or better; a source is tried,
asked or read.`,
		Example: `  waylumed doctor
  waylumed doctor --json | jq -r '.verdict.dataplane'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := doctor.Examine(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(sys.stdout)
				encoder.SetIndent("", "  ")
				err = encoder.Encode(report)
			} else {
				err = report.Write(console.New(sys.stdout, sys.getenv))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}
