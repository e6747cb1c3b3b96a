package main

import (
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/cmd/waylumed/internal/daemon"
	"github.com/waylume/waylume/cmd/waylumed/internal/privilege"
)

func runCommand(sys system) *cobra.Command {
	var acceptNewKey bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a node as a service, with an API",
		Long: `Run runs an exit node as it is configured, until it is told to stop: for a
service manager, or a container. Peers come and go through its API, which is a
Unix socket in the state directory unless the configuration says otherwise:
'waylumed peers' uses it.

Settings come from a file, the environment (WAYLUME_...), .env and flags; later
ones win. 'waylumed init' writes a file, 'waylumed config check' looks at it, and
docs/configuration.md has all settings.

SIGHUP reads the configuration anew: what can be changed while the node runs is,
what cannot is named in the log, and if anything is wrong nothing changes.
SIGTERM and SIGINT end it in order: it takes no new peers, answers the requests
that are under way, stores all usage, and takes its interface and its rules away,
or leaves them for the next start where run.stop is keep.

Under systemd it says when it is ready, answers the watchdog, and takes sockets
that are open before it is. Once all is open it gives up every privilege but
those that it goes on to need.`,
		Example: `  waylumed run
  waylumed run --config /etc/waylume/waylumed.yaml
  waylumed run --state ./state --dataplane userspace --log-format json`,
		Args: cobra.NoArgs,
	}
	flags := configFlags(sys, cmd)
	cmd.Flags().BoolVar(&acceptNewKey, "accept-new-key", false,
		"begin with another private key than peers know: all need new configurations")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := configOptions(sys, "", flags)
		if err != nil {
			return err
		}
		loaded, err := config.Load(opts)
		if err != nil {
			return err
		}
		log, err := daemon.NewLog(sys.stderr, loaded.Config.Log)
		if err != nil {
			return err
		}
		for _, w := range loaded.Warnings {
			log.Logger.Warn("configuration", "problem", w.String())
		}
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		return daemon.Run(cmd.Context(), daemon.Options{
			Config: loaded,
			Reload: func(now *config.Loaded) (*config.Loaded, []config.Change, error) { return now.Reload(opts) },
			Hangup: hangup, AcceptNewKey: acceptNewKey, Version: readBuild(debug.ReadBuildInfo()).Version, Log: log, Drop: privilege.Drop,
		})
	}
	return cmd
}
