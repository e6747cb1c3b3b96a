package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/up"
)

func upCommand(sys system) *cobra.Command {
	s := up.Default()
	var verbose bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a node, with a first peer at once",
		Long: `Up runs an exit node until Ctrl-C. The first run makes the node's key and a
first peer, and shows the peer's configuration for wg-quick and as a QR code for
a phone. The peer's private key is shown once and is not kept anywhere.

Every later run goes on with the same key, peers and usage; --new-peer makes
another peer, to which the flags about a peer then apply.

State is one file in a directory of its own: /var/lib/waylume for root, else
$XDG_STATE_HOME/waylumed or ~/.local/state/waylumed.

Packets go through the Linux kernel where this process may change its network
(root, or CAP_NET_ADMIN), which takes an interface, tables of nftables, queues,
IP forwarding and a way through other firewalls, all undone at the end; else
through this process, with no privilege. --dataplane says which, and what is
shown says which it is, and why.

Rates are as tc(8) has them: 20mbit, 1.5gbit, 800kbit, unlimited. Amounts have
an IEC or an SI unit: 5GiB, 500MB, or none.`,
		Example: `  waylumed up
  waylumed up --speed 50mbit --cap 100GiB --cap-period monthly
  waylumed up --new-peer --peer-name tablet --account family --account-cap 1TiB
  waylumed up --endpoint vpn.example.com --listen-port 443
  waylumed up --dataplane kernel --uplink eth0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.Flags().Visit(func(f *pflag.Flag) { s.Given = append(s.Given, f.Name) })
			if s.State == "" {
				home, _ := os.UserHomeDir() // up says what is missing
				s.State = up.StateDir(sys.getenv, os.Geteuid() == 0, home)
			}
			err := up.Run(cmd.Context(), up.Options{
				Settings: s, Out: console.New(sys.stdout, sys.getenv), Logger: newLogger(sys.stderr, verbose),
			})
			if invalid := (*up.SettingsError)(nil); errors.As(err, &invalid) {
				return usageError{err}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.State, "state", s.State, "`directory` for the node's state")
	f.Uint16Var(&s.ListenPort, "listen-port", s.ListenPort, "UDP `port` for WireGuard; 0: any that is free, another one each time")
	f.StringVar(&s.Endpoint, "endpoint", s.Endpoint, "`host[:port]` at which devices reach the node (default this host's own address)")
	f.StringSliceVar(&s.DNS, "dns", s.DNS, "`addresses` of the resolvers for devices, or none (default Quad9)")
	f.StringVar(&s.Dataplane, "dataplane", s.Dataplane, "what moves the packets: auto, kernel or userspace `dataplane`")
	f.StringVar(&s.Interface, "interface", s.Interface, "kernel dataplane: `name` of the tunnel's interface")
	f.StringVar(&s.Uplink, "uplink", s.Uplink, "kernel dataplane: `name` of the only interface that peers' packets may leave by (default any)")
	f.BoolVar(&s.NewPeer, "new-peer", s.NewPeer, "make another peer")
	f.StringVar(&s.PeerName, "peer-name", s.PeerName, "the peer's `name`")
	f.StringVar(&s.Speed, "speed", s.Speed, "the peer's speed limit, a `rate` for both directions")
	f.StringVar(&s.Download, "download", s.Download, "the peer's download limit, a `rate`, instead of --speed")
	f.StringVar(&s.Upload, "upload", s.Upload, "the peer's upload limit, a `rate`, instead of --speed")
	f.StringVar(&s.Cap, "cap", s.Cap, "the peer's data cap, an `amount`")
	f.StringVar(&s.CapPeriod, "cap-period", s.CapPeriod, "what the cap is for: none (until it is used up), daily, weekly or monthly `period`")
	f.StringVar(&s.Account, "account", s.Account, "the `account` that the peer belongs to")
	f.StringVar(&s.AccountSpeed, "account-speed", s.AccountSpeed, "the account's speed limit, a `rate` that its peers share")
	f.StringVar(&s.AccountCap, "account-cap", s.AccountCap, "the account's data cap, an `amount` that its peers share")
	f.BoolVar(&s.NoQR, "no-qr", s.NoQR, "leave the QR code out")
	f.BoolVarP(&verbose, "verbose", "v", false, "show all that the node logs")

	suggest := func(values ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return values, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		}
	}
	for flag, values := range map[string][]string{
		"dataplane": up.Dataplanes(), "interface": nil, "uplink": nil, "cap-period": up.Periods(), "speed": rates(), "download": rates(), "upload": rates(), "account-speed": rates(),
		"cap": amounts(), "account-cap": amounts(), "peer-name": nil, "account": nil, "endpoint": nil, "dns": nil, "listen-port": nil,
	} {
		if err := cmd.RegisterFlagCompletionFunc(flag, suggest(values...)); err != nil {
			panic(err) // a flag that is not there: a mistake in this file
		}
	}
	if err := cmd.MarkFlagDirname("state"); err != nil {
		panic(err)
	}
	return cmd
}

func rates() []string { return []string{"10mbit", "20mbit", "50mbit", "100mbit", "unlimited"} }

func amounts() []string { return []string{"1GiB", "10GiB", "100GiB", "1TiB", "none"} }
