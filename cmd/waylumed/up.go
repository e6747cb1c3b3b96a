package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
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

State is a file in a directory of its own: /var/lib/waylume for root, else
$XDG_STATE_HOME/waylumed or ~/.local/state/waylumed. The node's private key is
another file there, node.key, in base64 as 'wg genkey' writes it; WAYLUME_PRIVATE_KEY_FILE
or, before that, --private-key-file names one elsewhere. A backup of the state does
not hold it. What each peer and account uses over time is logged
beside it, and 'waylumed usage' shows it.

Packets go through the Linux kernel where this process may change its network
(root, or CAP_NET_ADMIN), which takes an interface, tables of nftables, queues,
IP forwarding and a way through other firewalls, all undone at the end; else
through this process, with no privilege. --dataplane says which, and what is
shown says which it is, and why. Flags about the kernel dataplane are refused
where packets go through this process.

Peers leave with this host's address, with --source-addrs, or, by --nat none,
with their own, which the network behind must then route to this host.
--control-ports closes ports of this host, such as 22, to all but those named:
connections of others that stand when it starts stop as well.

Rates are as tc(8) has them: 20mbit, 1.5gbit, 800kbit, unlimited. Amounts have
an IEC or an SI unit: 5GiB, 500MB, or none.`,
		Example: `  waylumed up
  waylumed up --speed 50mbit --cap 100GiB --cap-period monthly
  waylumed up --new-peer --peer-name tablet --account family --account-cap 1TiB
  waylumed up --endpoint vpn.example.com --listen-port 443
  waylumed up --dataplane kernel --uplink eth0 --source-addrs 203.0.113.9
  waylumed up --dataplane kernel --control-ports 22 --control-allow 198.51.100.0/24`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.Flags().Visit(func(f *pflag.Flag) { s.Given = append(s.Given, f.Name) })
			if s.State == "" {
				home, _ := os.UserHomeDir() // up says what is missing
				s.State = state.Dir(sys.getenv, os.Geteuid() == 0, home)
			}
			if s.PrivateKeyFile == "" {
				s.PrivateKeyFile = sys.getenv("WAYLUME_PRIVATE_KEY_FILE")
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
	f.SortFlags = false // in groups: the node, the kernel dataplane, a new peer, the rest
	f.StringVar(&s.State, "state", s.State, "`directory` for the node's state (default as above)")
	f.StringVar(&s.PrivateKeyFile, "private-key-file", s.PrivateKeyFile,
		"`file` of the node's private key, made if it is not there (default node.key with the state)")
	f.BoolVar(&s.AcceptNewKey, "accept-new-key", s.AcceptNewKey,
		"begin with another key than peers know: all need new configurations")
	f.Uint16Var(&s.ListenPort, "listen-port", s.ListenPort, "UDP `port` for WireGuard; 0: any that is free, another one each time")
	f.StringVar(&s.Endpoint, "endpoint", s.Endpoint, "`host[:port]` at which devices reach the node (default this host's own address)")
	f.StringSliceVar(&s.DNS, "dns", s.DNS, "`addresses` of the resolvers for devices, or none (default Quad9)")
	f.StringVar(&s.Dataplane, "dataplane", s.Dataplane, "what moves the packets: auto, kernel or userspace `dataplane`")
	kernelFlags(f, &s)
	f.StringVar(&s.UsageLog, "usage-log", s.UsageLog,
		"how often usage is logged, a `time` that divides an hour or a day, or none")
	f.StringVar(&s.UsageRetention, "usage-retention", s.UsageRetention, "the `time` for which that log is kept, in days or hours")
	f.BoolVar(&s.NewPeer, "new-peer", s.NewPeer, "make another peer; without peers the first is made anyway")
	f.StringVar(&s.PeerName, "peer-name", s.PeerName, "the new peer's `name`")
	f.StringVar(&s.Speed, "speed", s.Speed, "the new peer's speed limit, a `rate` for each direction")
	f.StringVar(&s.Download, "download", s.Download, "the new peer's download limit, a `rate`, instead of --speed")
	f.StringVar(&s.Upload, "upload", s.Upload, "the new peer's upload limit, a `rate`, instead of --speed")
	f.StringVar(&s.Cap, "cap", s.Cap, "the new peer's data cap, an `amount` for both directions together")
	f.StringVar(&s.CapPeriod, "cap-period", s.CapPeriod, "the `period` after which a cap begins anew: daily, weekly, monthly or none")
	f.StringVar(&s.Account, "account", s.Account, "the `account` that the new peer belongs to, made if it is not there")
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
		"dataplane": host.Dataplanes(), "nat": up.NATs(), "cap-period": up.Periods(),
		"speed": rates(), "download": rates(), "upload": rates(), "account-speed": rates(), "cap": amounts(), "account-cap": amounts(),
		"usage-log": up.UsagePeriods(), "usage-retention": {"31d", "90d", "366d"},
		"interface": nil, "uplink": nil, "source-addrs": nil, "fwmark": nil, "control-ports": nil, "control-allow": nil, "peer-name": nil,
		"account": nil, "endpoint": nil, "dns": nil, "listen-port": nil,
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

// kernelFlags are those about the kernel dataplane; with the other they are mistakes.
func kernelFlags(f *pflag.FlagSet, s *up.Settings) {
	f.StringVar(&s.Interface, "interface", s.Interface,
		"kernel dataplane: `name` of the tunnel's interface")
	f.StringVar(&s.Uplink, "uplink", s.Uplink,
		"kernel dataplane: `name` of the only interface that peers' packets may leave by (default any)")
	f.StringVar(&s.NAT, "nat", s.NAT,
		"kernel dataplane: NAT `mode`, masquerade or none (peers' own addresses)")
	f.StringSliceVar(&s.SourceAddrs, "source-addrs", s.SourceAddrs,
		"kernel dataplane: `addresses` to leave with (SNAT), at most one of IPv4, one of IPv6")
	f.Uint32Var(&s.FirewallMark, "fwmark", s.FirewallMark,
		"kernel dataplane: `mark` of WireGuard's own packets, as 51820 or 0xca6c (default none)")
	f.BoolVar(&s.LeaveFirewalls, "leave-firewalls", s.LeaveFirewalls,
		"kernel dataplane: open no way through other firewalls")
	f.StringSliceVar(&s.ControlPorts, "control-ports", s.ControlPorts,
		"kernel dataplane: TCP `ports` of this host to close to all but --control-allow")
	f.StringSliceVar(&s.ControlAllow, "control-allow", s.ControlAllow,
		"kernel dataplane: `prefixes` that reach --control-ports (default this host alone)")
}

func rates() []string { return []string{"10mbit", "20mbit", "50mbit", "100mbit", "unlimited"} }

func amounts() []string { return []string{"1GiB", "10GiB", "100GiB", "1TiB", "none"} }
