package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/setup"
)

func initCommand(sys system) *cobra.Command {
	var a setup.Answers
	var file string
	var force, yes, production, key bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first file of settings",
		Long: `Init asks a few questions and writes a file of settings for 'waylumed run', with
every other setting as a comment, and if it is wanted a key that signs requests
to the API. What is answered by a flag is not asked; with --yes nothing is, and
what is not given is as it is in brackets when it is asked.

Files have mode 0600. One that is there is not replaced without --force, and a
key never is. Nothing is written unless 'waylumed config check' accepts it.`,
		Example: `  waylumed init
  waylumed init --yes --endpoint vpn.example.com
  waylumed init --yes --purpose remote --tls-cert node.pem --tls-key node.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.Getwd()
			if err != nil {
				return err
			}
			if file == "" {
				file = config.DefaultFile(sys.getenv, os.Geteuid() == 0, sys.getenv("HOME"))
			}
			if file == "" {
				return usageError{errors.New("--output: there is no home directory to write to: name a file")}
			}
			if !filepath.IsAbs(file) {
				file = filepath.Join(dir, file)
			}
			for choice, given := range map[*setup.Choice]struct {
				flag string
				is   bool
			}{&a.Production: {"production", production}, &a.Key: {"api-key", key}} {
				switch {
				case !cmd.Flags().Changed(given.flag):
				case given.is:
					*choice = setup.Yes
				default:
					*choice = setup.No
				}
			}
			in := sys.stdin
			if in == nil {
				in = strings.NewReader("")
			}
			result, err := setup.Run(cmd.Context(), setup.Options{
				File: file, Force: force, Answers: a, Ask: !yes, In: in, Out: sys.stdout, Environ: sys.environ, Dir: dir,
				Now: time.Now(),
			})
			if err != nil {
				return err
			}
			result.Show(sys.stdout)
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&file, "output", "", "write this `file` (default as 'waylumed config --help' has it)")
	f.BoolVar(&force, "force", false, "replace the file if it is there")
	f.BoolVarP(&yes, "yes", "y", false, "ask nothing")
	f.StringVar(&a.Purpose, "purpose", "", "`who` manages the node: local or remote")
	f.StringVar(&a.Endpoint, "endpoint", "", "`host[:port]` at which devices reach the node")
	f.StringVar(&a.ListenPort, "listen-port", "", "UDP `port` for WireGuard")
	f.StringVar(&a.Dataplane, "dataplane", "", "what moves the packets: auto, kernel or userspace `dataplane`")
	f.StringVar(&a.Listen, "listen", "", "`addresses` of the API: unix, or such as :8443 or unix:/run/waylume/api.sock, with commas between")
	f.StringVar(&a.CertFile, "tls-cert", "", "`file` of the certificate for TLS, in PEM")
	f.StringVar(&a.KeyFile, "tls-key", "", "`file` of its private key, in PEM")
	f.BoolVar(&production, "production", false, "insist on what production needs")
	f.BoolVar(&key, "api-key", false, "make a key that signs requests")
	f.StringVar(&a.KID, "kid", "", "the key's `name`")
	for flag, values := range map[string][]string{
		"purpose": {setup.Local, setup.Remote}, "dataplane": host.Dataplanes(), "listen": {setup.Unix, setup.Unix + ",:8443", ":8443", "127.0.0.1:8443"},
		"endpoint": nil, "listen-port": nil, "kid": nil,
	} {
		if err := cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return values, cobra.ShellCompDirectiveNoFileComp
		}); err != nil {
			panic(err) // a flag that is not there: a mistake in this file
		}
	}
	return cmd
}
