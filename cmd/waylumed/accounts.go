package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func accountsCommand(sys system) *cobra.Command {
	a := &asking{sys: sys}
	cmd := group(&cobra.Command{
		Use:   "accounts",
		Short: "List, make, change and remove the accounts of a daemon that runs",
		Long: `Accounts are customers, whose peers share one speed limit and one data cap. An
ACCOUNT is its ID.

` + whereAPI + `

With --json the answer is one document, of the API's own types: an object for one
account, and an array for a list.`,
		Example: `  waylumed accounts put family --speed 200mbit --cap 1TiB --period monthly
  waylumed accounts list
  waylumed accounts suspend family`,
	}, a.listAccounts(), a.putAccount(), a.showAccount(), a.removeAccount(), a.limitAccount(),
		a.capAccount(), a.suspendAccount(true),
		a.suspendAccount(false))
	a.flags(cmd, cmd.PersistentFlags())
	return cmd
}

func (a *asking) listAccounts() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the accounts",
		Example: "  waylumed accounts list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.do(cmd, auth.PeersRead, func(ctx context.Context, c *client.Client) error {
				accounts := []api.Account{}
				for account, err := range c.Accounts(ctx, listPage) {
					if err != nil {
						return err
					}
					accounts = append(accounts, account)
				}
				return a.show(accounts, func(c console.Console) error { return ask.ShowAccounts(c, accounts) })
			})
		},
	}
}

func (a *asking) putAccount() *cobra.Command {
	var l ask.LimitWords
	var dataCap ask.CapWords
	var labels []string
	cmd := &cobra.Command{
		Use:   "put ACCOUNT",
		Short: "Make an account, or make one what the flags say",
		Long: `Put makes an account that is not there. One that is there becomes what the flags
say: a limit, a cap or labels that are left out are taken away. Whether it is
suspended stays. 'waylumed accounts limit' and 'cap' change one thing alone.`,
		Example:           "  waylumed accounts put family --speed 200mbit --cap 1TiB --period monthly --label plan=pro",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.accounts(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var w ask.Words
			spec := api.AccountSpec{SpeedLimit: l.Limit(&w), DataCap: dataCap.Cap(&w), Labels: w.Labels("--label", labels)}
			if err := w.Err(); err != nil {
				return usageError{err}
			}
			return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
				account, _, err := c.PutAccount(ctx, args[0], spec)
				if err != nil {
					return err
				}
				return a.show(account, say("Account %s: speed limit %s, data cap %s.", account.ID, ask.Limit(account.SpeedLimit),
					ask.Cap(account.DataCap)))
			})
		},
	}
	cmd.Flags().SortFlags = false
	limitFlags(cmd, &l, &dataCap)
	cmd.Flags().StringArrayVar(&labels, "label", nil, "a `label` to keep with it, as plan=pro; may be given again")
	complete(cmd, "label", suggest())
	return cmd
}

func (a *asking) showAccount() *cobra.Command {
	return &cobra.Command{
		Use:               "show ACCOUNT",
		Short:             "Show an account and what it used",
		Long:              "Show tells all that is known of an account. With --json it is the account alone.",
		Example:           "  waylumed accounts show family",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.accounts(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd, auth.PeersRead, func(ctx context.Context, c *client.Client) error {
				account, _, err := c.Account(ctx, args[0])
				if err != nil || a.asJSON {
					return orShow(err, a, account)
				}
				usage, err := c.AccountUsage(ctx, account.ID)
				if err != nil {
					return err
				}
				return ask.ShowAccount(console.New(a.sys.stdout, a.sys.getenv), account, &usage)
			})
		},
	}
}

func (a *asking) removeAccount() *cobra.Command {
	var peers bool
	cmd := &cobra.Command{
		Use:   "remove ACCOUNT",
		Short: "Remove an account",
		Long: `Remove forgets an account that has no peers, or with --peers one and all of its
peers. With --json it is the account as it was.`,
		Example:           "  waylumed accounts remove family --peers",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.accounts(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
				account, _, err := c.Account(ctx, args[0])
				if err != nil {
					return err
				}
				if err := c.DeleteAccount(ctx, account.ID, peers); err != nil {
					return ask.AccountInUse(err, account)
				}
				text := ""
				if peers {
					text = " and its peers"
				}
				return a.show(account, say("Removed account %s%s.", account.ID, text))
			})
		},
	}
	cmd.Flags().BoolVar(&peers, "peers", false, "remove its peers, too")
	return cmd
}

func (a *asking) limitAccount() *cobra.Command {
	var l ask.LimitWords
	cmd := &cobra.Command{
		Use:   "limit ACCOUNT [RATE]",
		Short: "Change the speed limit that an account's peers share",
		Long:  "Limit changes what an account's peers have together.\n\n" + limitHelp,
		Example: `  waylumed accounts limit family 200mbit
  waylumed accounts limit family --upload 50mbit`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.accounts(1, suggest(limits()...)),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Both = optional(args)
			patch, err := l.Patch()
			if err != nil {
				return usageError{err}
			}
			return a.changeAccount(cmd, args[0], api.AccountPatch{SpeedLimit: patch}, func(account api.Account) string {
				return "speed limit " + ask.Limit(account.SpeedLimit)
			})
		},
	}
	directionFlags(cmd, &l)
	return cmd
}

func (a *asking) capAccount() *cobra.Command {
	var w ask.CapWords
	cmd := &cobra.Command{
		Use:   "cap ACCOUNT [AMOUNT]",
		Short: "Change the data cap that an account's peers share",
		Long:  "Cap changes what an account's peers may use together.\n\n" + capHelp,
		Example: `  waylumed accounts cap family 1TiB --period monthly
  waylumed accounts cap family none`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.accounts(1, suggest(amounts()...)),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.Amount = optional(args)
			patch, err := w.Patch()
			if err != nil {
				return usageError{err}
			}
			return a.changeAccount(cmd, args[0], api.AccountPatch{DataCap: patch}, func(account api.Account) string {
				return "data cap " + ask.Cap(account.DataCap)
			})
		},
	}
	capFlags(cmd, &w)
	return cmd
}

func (a *asking) suspendAccount(suspended bool) *cobra.Command {
	verb, short, now := "suspend", "Close all peers of an account, and keep them", "suspended"
	if !suspended {
		verb, short, now = "resume", "Open the peers of an account that was suspended", "active"
	}
	return &cobra.Command{
		Use:               verb + " ACCOUNT",
		Short:             short,
		Example:           "  waylumed accounts " + verb + " family",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.accounts(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeAccount(cmd, args[0], api.AccountPatch{Suspended: api.Set(suspended)}, func(api.Account) string { return now })
		},
	}
}

// changeAccount makes a change, and says what the account is now.
func (a *asking) changeAccount(cmd *cobra.Command, id string, patch api.AccountPatch, now func(api.Account) string) error {
	return a.do(cmd, auth.PeersWrite, func(ctx context.Context, c *client.Client) error {
		account, _, err := c.PatchAccount(ctx, id, patch)
		if err != nil {
			return err
		}
		return a.show(account, say("Account %s: %s.", account.ID, now(account)))
	})
}
