package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// secretsHelp is in the help of commands that complete a configuration.
const secretsHelp = `The node keeps no private keys, so the peer's is taken from --private-key-file: a
key as 'wg genkey' writes it, or a configuration that 'waylumed peers add --out'
saved, with its preshared key if there is one. It must be that peer's.`

func (a *asking) configPeer() *cobra.Command {
	var keyFile, out string
	cmd := &cobra.Command{
		Use:   "config PEER",
		Short: "Print a peer's configuration as the node has it now",
		Long: `Config prints what a peer's device needs for wg-quick(8), as it is now: with the
node's present key and endpoint. Without --private-key-file it has a comment in the
place of the private key, and no preshared key.

` + secretsHelp + "\n\n" + whichPeer,
		Example: `  waylumed peers config phone
  waylumed peers config phone --private-key-file phone.conf --out phone-new.conf`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.peers(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.asJSON && (keyFile != "" || out != "") {
				return usageError{errors.New("--json is the node's answer, without secrets: leave it out, or --private-key-file and --out")}
			}
			return a.do(cmd, auth.PeersRead, func(ctx context.Context, c *client.Client) (err error) {
				config, text, err := configOf(ctx, c, args[0], keyFile)
				if err != nil || a.asJSON {
					return orShow(err, a, config)
				}
				if out == "" {
					_, err = io.WriteString(a.sys.stdout, ask.Clean(text))
					return err
				}
				file, err := ask.NewFile(out)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, file.Close()) }()
				if err := file.Save(text); err != nil {
					return err
				}
				return say("The configuration is in %s.", out)(console.New(a.sys.stdout, a.sys.getenv))
			})
		},
	}
	cmd.Flags().StringVar(&keyFile, "private-key-file", "", "`file` of the peer's private key, or of its configuration")
	cmd.Flags().StringVar(&out, "out", "", "save the configuration in this new `file`")
	return cmd
}

// configOf is a peer's configuration, and its text with the secrets that a file has, if one is named.
func configOf(ctx context.Context, c *client.Client, name, keyFile string) (config api.PeerConfig, text string, err error) {
	var secrets ask.Secrets
	if keyFile != "" {
		if secrets, err = ask.ReadSecrets(keyFile); err != nil {
			return config, "", err
		}
	}
	p, err := onePeer(ctx, c, name)
	if err != nil {
		return config, "", err
	}
	if config, err = c.PeerConfig(ctx, p.PublicKey); err != nil {
		return config, "", err
	}
	if keyFile == "" {
		return config, config.Text, nil
	}
	text, err = secrets.Complete(p, config)
	return config, text, err
}

func (a *asking) qrPeer() *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use:   "qr PEER --private-key-file FILE",
		Short: "Show a peer's configuration as a QR code",
		Long: `Qr shows a peer's configuration, as it is now, as a QR code for the WireGuard app.

` + secretsHelp + ` A peer whose
private key is lost gets another with 'waylumed peers rekey'.

` + whichPeer,
		Example:           "  waylumed peers qr phone --private-key-file phone.conf",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.peers(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case keyFile == "":
				return usageError{errors.New("an app needs the private key, which the node does not keep: give --private-key-file, " +
					"or give the peer another key with 'waylumed peers rekey'")}
			case a.asJSON:
				return usageError{errors.New("a QR code is for a person, and --json for a program: leave --json out")}
			}
			return a.do(cmd, auth.PeersRead, func(ctx context.Context, c *client.Client) error {
				_, text, err := configOf(ctx, c, args[0], keyFile)
				if err != nil {
					return err
				}
				return ask.WriteCode(console.New(a.sys.stdout, a.sys.getenv), text)
			})
		},
	}
	cmd.Flags().StringVar(&keyFile, "private-key-file", "", "`file` of the peer's private key, or of its configuration")
	return cmd
}

func (a *asking) rekeyPeer() *cobra.Command {
	var w peerWords
	cmd := &cobra.Command{
		Use:   "rekey PEER",
		Short: "Give a peer another key, and show its configuration",
		Long: `Rekey has the node make another key pair for a peer, whose device cannot connect
any more until it has the new configuration. Its addresses, limits and usage stay;
its id is another one.

` + whichPeer,
		Example: `  waylumed peers rekey phone --qr
  waylumed peers rekey phone --out phone-new.conf`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.peers(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.qr && a.asJSON {
				return usageError{errors.New("--qr is for a person, and --json for a program: give one of them")}
			}
			return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
				p, err := onePeer(ctx, c, args[0])
				if err != nil {
					return err
				}
				return a.keep(w, fmt.Sprintf("peer %s has another key", ask.Called(p)), func() (api.CreatedPeer, error) {
					return c.RekeyPeer(ctx, p.PublicKey, api.PeerKeys{})
				})
			})
		},
	}
	cmd.Flags().StringVar(&w.out, "out", "", "save the configuration in this new `file`")
	cmd.Flags().BoolVar(&w.qr, "qr", false, "show the configuration as a QR code, too")
	return cmd
}
