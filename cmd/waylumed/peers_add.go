package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// peerWords are the words of a command line about a new peer.
type peerWords struct {
	limit                                                     ask.LimitWords
	cap                                                       ask.CapWords
	publicKey, presharedKeyFile, account, expires, keep, idle string
	addresses, labels                                         []string
	out                                                       string
	qr                                                        bool
}

func (a *asking) addPeer() *cobra.Command {
	var w peerWords
	cmd := &cobra.Command{
		Use:   "add [NAME]",
		Short: "Add a peer, and show its configuration",
		Long: `Add makes a peer and prints its configuration for wg-quick(8) and the apps, with
the private key that the node made for it: it is shown this once, and kept nowhere
else. --out saves it in a new file for its owner alone instead, and --qr shows it as
a QR code to scan. A device that brings its own --public-key keeps its private key,
and completes the configuration itself.

With --json the answer is the peer as created, with its private key and its
configuration, also beside --out. Asking again for the same public key with all else
the same changes nothing.`,
		Example: `  waylumed peers add phone --speed 50mbit --cap 100GiB --period monthly --qr
  waylumed peers add laptop --account family --expires 30d --out laptop.conf
  waylumed peers add router --public-key 'mXW1Y9zN0mJ0iM3oVJtW2r0m2vT7m0xg4c9jv5a1+2k='`,
		Args:              arguments(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			spec, err := w.read(name, a.asJSON, time.Now())
			if err != nil {
				return usageError{err}
			}
			return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
				return a.keep(w, "the peer is there", func() (api.CreatedPeer, error) { return c.CreatePeer(ctx, spec) })
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false // in groups
	f.StringVar(&w.account, "account", "", "the `account` that it belongs to, which exists")
	limitFlags(cmd, &w.limit, &w.cap)
	f.StringVar(&w.expires, "expires", "", "the `time` when it ends: a time, a date, or as 30d from now")
	f.StringVar(&w.keep, "keep", "", "the `time` for which it is kept after that, closed")
	f.StringVar(&w.idle, "idle-timeout", "", "remove it after this `time` without a handshake")
	f.StringArrayVar(&w.labels, "label", nil, "a `label` for the node's policy, as plan=pro; may be given again")
	f.StringArrayVar(&w.addresses, "address", nil, "an `address` in the tunnel (default leased); may be given again")
	f.StringVar(&w.publicKey, "public-key", "", "the device's own public `key` (default the node makes a pair)")
	f.StringVar(&w.presharedKeyFile, "preshared-key-file", "", "`file` of a preshared key, as 'wg genpsk' writes it")
	f.StringVar(&w.out, "out", "", "save the configuration in this new `file`")
	f.BoolVar(&w.qr, "qr", false, "show the configuration as a QR code, too")
	for flag, values := range map[string][]string{
		"expires": {"24h", "7d", "30d"}, "keep": {"24h", "7d", "30d"}, "idle-timeout": {"30d",
			"90d"}, "label": nil, "address": nil, "public-key": nil,
	} {
		complete(cmd, flag, suggest(values...))
	}
	complete(cmd, "account", a.accounts(-1))
	return cmd
}

// read makes a specification, and names all that is wrong with the words.
func (p *peerWords) read(name string, asJSON bool, now time.Time) (api.PeerSpec, error) {
	var w ask.Words
	spec := api.PeerSpec{
		Name: name, Account: p.account, SpeedLimit: p.limit.Limit(&w), DataCap: p.cap.Cap(&w), Labels: w.Labels("--label", p.labels),
	}
	if p.expires != "" {
		spec.ExpiresAt = w.Time("--expires", p.expires, now)
	}
	if p.keep != "" {
		spec.GracePeriod = w.Duration("--keep", p.keep)
	}
	if p.idle != "" {
		spec.IdleTimeout = w.Duration("--idle-timeout", p.idle)
	}
	for _, text := range p.addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			w.Wrong("--address", "%q is not an address: give one as 10.0.0.2", text)
		}
		spec.Addresses = append(spec.Addresses, addr)
	}
	if p.publicKey != "" {
		if err := spec.PublicKey.UnmarshalText([]byte(p.publicKey)); err != nil {
			w.Wrong("--public-key", "%q %v", p.publicKey, err)
		}
	}
	if p.presharedKeyFile != "" {
		var err error
		if spec.PresharedKey, err = ask.ReadKey(p.presharedKeyFile); err != nil {
			w.Wrong("--preshared-key-file", "%v", err)
		}
	}
	if p.qr && p.publicKey != "" {
		w.Wrong("--qr", "needs the private key, which the device has: leave it out, or --public-key")
	}
	if p.qr && asJSON {
		w.Wrong("--qr", "is for a person, and --json for a program: give one of them")
	}
	return spec, w.Err()
}

// keep makes a peer or a key, and saves or shows its configuration. The file is there before the key is, so that a file that
// cannot be made costs nothing, and a key that cannot be saved is shown.
func (a *asking) keep(w peerWords, done string, create func() (api.CreatedPeer, error)) (err error) {
	var file *ask.File
	if w.out != "" {
		if file, err = ask.NewFile(w.out); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	created, err := create()
	if err != nil {
		return err
	}
	saved := ""
	var unsaved error
	if file != nil && created.Config != "" {
		saved = w.out
		if unsaved = file.Save(created.Config); unsaved != nil {
			saved, unsaved = "", fmt.Errorf("%s, and its configuration could not be saved, so that it was shown: %w", done, unsaved)
		}
	}
	return errors.Join(a.show(created, func(out console.Console) error { return ask.ShowCreated(out, created, w.qr, saved) }),
		unsaved)
}
