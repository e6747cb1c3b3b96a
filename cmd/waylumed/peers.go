package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func peersCommand(sys system) *cobra.Command {
	a := &asking{sys: sys}
	cmd := group(&cobra.Command{
		Use:   "peers",
		Short: "List, add, change and remove the peers of a daemon that runs",
		Long: `Peers are the devices that may use the node.

` + whichPeer + `

` + whereAPI + `

With --json the answer is one document, of the API's own types: an object for one
peer, and an array where there may be several.`,
		Example: `  waylumed peers list
  waylumed peers add phone --speed 50mbit --cap 100GiB --period monthly --qr
  waylumed peers suspend phone`,
	}, a.listPeers(), a.addPeer(), a.showPeer(), a.removePeers(),
		a.limitPeer(), a.capPeer(), a.suspendPeers(), a.resumePeers(), a.expirePeer(),
		a.movePeer(), a.rekeyPeer(), a.configPeer(), a.qrPeer())
	a.flags(cmd, cmd.PersistentFlags())
	return cmd
}

func (a *asking) listPeers() *cobra.Command {
	var q client.PeerQuery
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the peers",
		Long: `List shows every peer in the order in which they were added. On a terminal that is
too narrow, columns are left out; --json has all.`,
		Example: `  waylumed peers list
  waylumed peers list --account family --json | jq -r '.[].name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.do(cmd, auth.PeersRead, func(ctx context.Context, c *client.Client) error {
				q.Page = listPage
				peers := []api.Peer{}
				for p, err := range c.Peers(ctx, q) {
					if err != nil {
						return err
					}
					peers = append(peers, p)
				}
				return a.show(peers, func(c console.Console) error { return ask.ShowPeers(c, peers) })
			})
		},
	}
	cmd.Flags().StringVar(&q.Account, "account", "", "list the peers of this `account` alone")
	complete(cmd, "account", a.accounts(-1))
	return cmd
}

// listPage is how much of a list is asked for at once.
const listPage = 1000

func (a *asking) showPeer() *cobra.Command {
	return &cobra.Command{
		Use:   "show PEER",
		Short: "Show a peer, what it used and how it is connected",
		Long:  "Show tells all that is known of a peer.\n\n" + whichPeer + "\n\nWith --json it is the peer alone.",
		Example: `  waylumed peers show phone
  waylumed peers show Wq3f --json`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.peers(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd, auth.PeersRead, func(ctx context.Context, c *client.Client) error {
				p, err := onePeer(ctx, c, args[0])
				if err != nil || a.asJSON {
					return orShow(err, a, p)
				}
				usage, err := c.PeerUsage(ctx, p.PublicKey)
				if err != nil {
					return err
				}
				quality, err := c.PeerQuality(ctx, p.PublicKey)
				if err != nil {
					return err
				}
				return ask.ShowPeer(console.New(a.sys.stdout, a.sys.getenv), p, &usage, &quality)
			})
		},
	}
}

// orShow shows an answer as JSON if there is no error.
func orShow(err error, a *asking, answer any) error {
	if err != nil {
		return err
	}
	return ask.WriteJSON(a.sys.stdout, answer)
}

// onePeer is the peer that is called so.
func onePeer(ctx context.Context, c *client.Client, name string) (api.Peer, error) {
	peers, err := ask.Find(ctx, c, []string{name})
	if err != nil {
		return api.Peer{}, err
	}
	return peers[0], nil
}

func (a *asking) removePeers() *cobra.Command {
	return &cobra.Command{
		Use:   "remove PEER...",
		Short: "Remove peers",
		Long: `Remove disconnects peers and forgets them, all that are named or none. Their
addresses become free.

` + whichPeer + `

With --json it is an array of the peers as they were.`,
		Example: `  waylumed peers remove phone
  waylumed peers remove phone tablet`,
		Args:              arguments(1, api.MaxBulk),
		ValidArgsFunction: a.peers(-1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
				peers, err := ask.Find(ctx, c, args)
				if err != nil {
					return err
				}
				keys := make([]api.Key, len(peers))
				for i, p := range peers {
					keys[i] = p.PublicKey
				}
				if len(keys) == 1 {
					err = c.DeletePeer(ctx, keys[0])
				} else {
					err = c.DeletePeers(ctx, keys)
				}
				if err != nil {
					return err
				}
				return a.show(peers, func(out console.Console) error {
					for _, p := range peers {
						if err := say("Removed peer %s, key %s.", ask.Called(p), p.PublicKey)(out); err != nil {
							return err
						}
					}
					return nil
				})
			})
		},
	}
}

func (a *asking) suspendPeers() *cobra.Command {
	return a.suspension("suspend", "Close peers, and keep them", "Suspended", true)
}

func (a *asking) resumePeers() *cobra.Command {
	return a.suspension("resume", "Open peers that were suspended", "Resumed", false)
}

func (a *asking) suspension(verb, short, done string, suspended bool) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " PEER...",
		Short:             short,
		Long:              short + ", one after the other.\n\n" + whichPeer,
		Example:           "  waylumed peers " + verb + " phone",
		Args:              arguments(1, -1),
		ValidArgsFunction: a.peers(-1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
				peers, err := ask.Find(ctx, c, args)
				if err != nil {
					return err
				}
				changed := []api.Peer{}
				for _, p := range peers {
					p, _, failed := c.PatchPeer(ctx, p.PublicKey, api.PeerPatch{Suspended: api.Set(suspended)})
					if failed != nil {
						err = fmt.Errorf("of %d peers, %d were changed: %w", len(peers), len(changed), failed)
						break
					}
					changed = append(changed, p)
				}
				shown := a.show(changed, func(out console.Console) error {
					for _, p := range changed {
						if err := say("%s peer %s: it is %s now.", done, ask.Called(p), ask.State(p))(out); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
				return shown
			})
		},
	}
}

// changePeer makes a change of one peer, and says what it is now.
func (a *asking) changePeer(cmd *cobra.Command, name string, patch api.PeerPatch, now func(api.Peer) string) error {
	return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
		p, err := onePeer(ctx, c, name)
		if err != nil {
			return err
		}
		if p, _, err = c.PatchPeer(ctx, p.PublicKey, patch); err != nil {
			return err
		}
		return a.show(p, say("Peer %s: %s.", ask.Called(p), now(p)))
	})
}

func (a *asking) expirePeer() *cobra.Command {
	var grace string
	cmd := &cobra.Command{
		Use:   "expire PEER TIME",
		Short: "Say when a peer ends",
		Long: `Expire has nothing of a peer pass any more from TIME on, and removes it then, or
after --keep. TIME is as 2026-12-31T12:00:00+01:00, a date, which is its midnight in
UTC, a time from now as 24h or 30d, or never.

` + whichPeer,
		Example: `  waylumed peers expire phone 30d
  waylumed peers expire phone 2026-12-31 --keep 7d
  waylumed peers expire phone never`,
		Args:              arguments(2, 2),
		ValidArgsFunction: a.peers(1, suggest("never", "24h", "7d", "30d")),
		RunE: func(cmd *cobra.Command, args []string) error {
			var w ask.Words
			patch := api.PeerPatch{ExpiresAt: api.Null[time.Time]()}
			if at := w.Time("TIME", args[1], time.Now()); !at.IsZero() {
				patch.ExpiresAt = api.Set(at)
			}
			if cmd.Flags().Changed("keep") {
				patch.GracePeriod = ask.OrNull(w.Duration("--keep", grace))
			}
			if err := w.Err(); err != nil {
				return usageError{err}
			}
			return a.changePeer(cmd, args[0], patch, ask.Expiry)
		},
	}
	cmd.Flags().StringVar(&grace, "keep", "", "the `time` for which it is kept after that, closed, or none")
	complete(cmd, "keep", suggest("none", "24h", "7d", "30d"))
	return cmd
}

func (a *asking) movePeer() *cobra.Command {
	var out bool
	cmd := &cobra.Command{
		Use:   "move PEER [ACCOUNT]",
		Short: "Put a peer into another account, or into none",
		Long:  "Move puts a peer into an account that exists, whose limit and cap it shares from then on.\n\n" + whichPeer,
		Example: `  waylumed peers move phone family
  waylumed peers move phone --out`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.peers(1, a.accounts(-1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == (len(args) == 2) {
				return usageError{fmt.Errorf("say where to: give an ACCOUNT, or --out for none")}
			}
			patch := api.PeerPatch{Account: api.Null[string]()}
			if !out {
				patch.Account = api.Set(args[1])
			}
			return a.changePeer(cmd, args[0], patch, func(p api.Peer) string {
				if p.Account == "" {
					return "of no account"
				}
				return "of account " + p.Account
			})
		},
	}
	cmd.Flags().BoolVar(&out, "out", false, "into no account")
	return cmd
}
