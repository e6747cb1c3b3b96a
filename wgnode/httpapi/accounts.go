package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const accountsPath = Prefix + "/accounts"

type putAccount struct {
	param.Account
	param.Conditions
	bodyOf[api.AccountSpec]
}

type changeAccount struct {
	param.Account
	param.Conditions
	bodyOf[api.AccountSettings]
}

type readAccount struct {
	param.Account
	param.Conditions
}

type removeAccount struct {
	param.Account
	param.Conditions
	Peers bool `query:"peers" doc:"With all its peers; else an account that has any is not removed."`
}

type topUpAccount struct {
	param.Account
	bodyOf[api.TopUp]
}

func (a *API) addAccountRoutes() {
	one := accountsPath + "/{id}"
	register(a, operation{
		id: "list-accounts", method: http.MethodGet, path: accountsPath, tag: "accounts", scope: auth.PeersRead,
		summary: "List accounts", description: "In the order in which they were added.",
	}, a.listAccounts)
	register(a, operation{
		id: "put-account", method: http.MethodPut, path: one, tag: "accounts", scope: auth.PeersWrite,
		summary: "Create an account, or replace what it is", description: "What it used stays, and whether it is suspended.",
		also: []int{http.StatusCreated}, refusals: []int{http.StatusPreconditionFailed}, body: typeOf[api.AccountSpec](),
		example: map[string]any{"speed_limit": map[string]any{"download": "100mbit", "upload": "100mbit"}},
	}, a.putAccount)
	register(a, operation{
		id: "get-account", method: http.MethodGet, path: one, tag: "accounts", scope: auth.PeersRead,
		summary: "Show an account", also: []int{http.StatusNotModified},
		refusals: []int{http.StatusNotFound, http.StatusPreconditionFailed},
	}, a.getAccount)
	register(a, operation{
		id: "change-account", method: http.MethodPatch, path: one, tag: "accounts", scope: auth.PeersWrite,
		summary: "Change an account",
		description: "The body is a JSON merge patch (RFC 7396): what it leaves out stays, null takes away. All of it is " +
			"checked before the " +
			"first change is made, and what was changed is changed back when a later part fails.",
		refusals: []int{http.StatusNotFound, http.StatusPreconditionFailed}, body: typeOf[api.AccountSettings](), patch: true,
		example: map[string]any{"suspended": true},
	}, a.changeAccount)
	register(a, operation{
		id: "remove-account", method: http.MethodDelete, path: one, tag: "accounts", scope: auth.PeersWrite,
		summary:  "Remove an account",
		refusals: []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed},
	}, a.removeAccount)
	register(a, operation{
		id: "get-account-usage", method: http.MethodGet, path: one + "/usage", tag: "accounts", scope: auth.PeersRead,
		summary: "Show what an account's peers used", refusals: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *struct{ param.Account }) (*answer[api.Usage], error) {
		return a.usage(ctx, in.Subject())
	})
	register(a, operation{
		id: "top-up-account", method: http.MethodPost, path: one + "/top-up", tag: "accounts", scope: auth.PeersWrite,
		summary: "Give an account more for the period that runs", description: "Its data cap stays. Asking twice gives twice.",
		refusals: []int{http.StatusNotFound}, body: typeOf[api.TopUp](), example: map[string]any{"bytes": "5GiB"},
	}, func(ctx context.Context, in *topUpAccount) (*answer[api.Usage], error) {
		return a.topUp(ctx, in.Subject(), in.value)
	})
	register(a, operation{
		id: "reset-account-usage", method: http.MethodPost, path: one + "/reset-usage", tag: "accounts", scope: auth.PeersWrite,
		summary: "Forget what an account's peers used in the period that runs", refusals: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *struct{ param.Account }) (*answer[api.Usage], error) {
		return a.resetUsage(ctx, in.Subject())
	})
}

func (a *API) listAccounts(_ context.Context, in *struct{ param.Page }) (*answer[api.AccountList], error) {
	seen, err := after(in.Page)
	if err != nil {
		return nil, err
	}
	if err := a.running(); err != nil {
		return nil, err
	}
	var list api.AccountList
	list.Items, list.Next = paged(a.cfg.Node.Accounts(wgnode.ListOptions{After: seen, Limit: in.Limit + 1}), in.Limit,
		func(x wgnode.Account) uint64 { return x.Sequence }, accountOf)
	return ok(list), nil
}

func (a *API) getAccount(_ context.Context, in *readAccount) (*tagged[api.Account], error) {
	account, err := a.cfg.Node.Account(in.ID)
	if err != nil {
		return nil, refusal(err)
	}
	return shown(accountOf(account), in.Conditions)
}

func (a *API) putAccount(ctx context.Context, in *putAccount) (*tagged[api.Account], error) {
	release, err := a.hold(ctx, wgnode.OfAccount(in.ID))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	status, before := http.StatusOK, ""
	if account, err := a.cfg.Node.Account(in.ID); err == nil {
		before = tag(accountOf(account))
	} else if !errors.Is(err, wgnode.ErrNotFound) {
		return nil, refusal(err)
	} else {
		status = http.StatusCreated
	}
	if err := allowed(in.Conditions, before); err != nil {
		return nil, err
	}
	account, err := a.cfg.Node.PutAccount(ctx, wgnode.AccountSpec{
		ID: in.ID, Labels: in.value.Labels, SpeedLimit: speedLimit(in.value.SpeedLimit), DataCap: dataCap(in.value.DataCap),
	})
	if err != nil {
		return nil, accountRefusal(err)
	}
	out := changed(account)
	if out.Status = status; status == http.StatusCreated {
		out.Location = accountsPath + "/" + url.PathEscape(in.ID)
	}
	return out, nil
}

// accountRefusal is refusal, of a request whose path has the account's ID.
func accountRefusal(err error) error {
	err = refusal(err)
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		for i, f := range p.Faults {
			if f.Location == "body.id" {
				p.Faults[i].Location = "path.id"
			}
		}
	}
	return err
}

func changed(account wgnode.Account) *tagged[api.Account] {
	view := accountOf(account)
	return &tagged[api.Account]{Status: http.StatusOK, ETag: tag(view), CacheControl: revalidate, Body: view}
}

// checkedAccount is the account, if the conditions are fulfilled.
func (a *API) checkedAccount(id param.Account, c param.Conditions) (wgnode.Account, error) {
	account, err := a.cfg.Node.Account(id.ID)
	if err != nil {
		return account, refusal(err)
	}
	return account, allowed(c, tag(accountOf(account)))
}

func (a *API) changeAccount(ctx context.Context, in *changeAccount) (*tagged[api.Account], error) {
	release, err := a.hold(ctx, wgnode.OfAccount(in.ID))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	account, err := a.checkedAccount(in.Account, in.Conditions)
	if err != nil {
		return nil, err
	}
	if err := a.patchAccount(ctx, account, in.Body); err != nil {
		return nil, accountRefusal(err)
	}
	if account, err = a.cfg.Node.Account(in.ID); err != nil {
		return nil, refusal(err)
	}
	return changed(account), nil
}

// patchAccount makes of an account what a merge patch says. The node checks all but suspension, which cannot be wrong, at once.
func (a *API) patchAccount(ctx context.Context, before wgnode.Account, patch []byte) error {
	after, err := merged(api.AccountSettings{
		Labels: before.Labels, SpeedLimit: speedLimitOf(before.SpeedLimit), DataCap: dataCapOf(before.DataCap),
		Suspended: before.Suspended,
	}, patch)
	if err != nil {
		return invalid([]problem.Fault{{Location: "body", Message: inWords(err.Error())}})
	}
	n, s := a.cfg.Node, wgnode.OfAccount(before.ID)
	put := func(labels map[string]string, limit shaping.Limit, dataCap quota.Cap) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := n.PutAccount(ctx, wgnode.AccountSpec{ID: before.ID, Labels: labels, SpeedLimit: limit, DataCap: dataCap})
			return err
		}
	}
	limit, newCap := speedLimit(after.SpeedLimit), dataCap(after.DataCap)
	var steps []step
	if !maps.Equal(after.Labels, before.Labels) || limit != before.SpeedLimit || !newCap.Equal(before.DataCap) {
		steps = append(steps, step{
			do: put(after.Labels, limit, newCap), undo: put(before.Labels, before.SpeedLimit, before.DataCap),
		})
	}
	if after.Suspended != before.Suspended {
		suspend := suspension(n, s, after.Suspended)
		steps = append(steps, step{
			do:   func(ctx context.Context) error { return suspend(ctx, false) },
			undo: func(ctx context.Context) error { return suspend(ctx, true) },
		})
	}
	return perform(ctx, steps)
}

func (a *API) removeAccount(ctx context.Context, in *removeAccount) (*struct{}, error) {
	release, err := a.hold(ctx, wgnode.OfAccount(in.ID))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	if _, err := a.checkedAccount(in.Account, in.Conditions); err != nil {
		return nil, gone(ctx, err)
	}
	remove := a.cfg.Node.RemoveAccount
	if in.Peers {
		remove = a.cfg.Node.RemoveAccountAndPeers
	}
	return nil, refusal(gone(ctx, remove(ctx, in.ID)))
}
