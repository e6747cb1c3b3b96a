package client

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strconv"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// PeerQuery says which peers are listed.
type PeerQuery struct {
	// Account is whose; empty: all.
	Account string
	// Page is how many are asked for at once; 0: as many as the API likes.
	Page int
}

// Peers lists peers, a page at a time. An error ends the list. Peers that are added or removed meanwhile may be in it or not; the
// others are, once.
func (c *Client) Peers(ctx context.Context, q PeerQuery) iter.Seq2[api.Peer, error] {
	return pages(func(cursor string) ([]api.Peer, string, error) {
		page, err := c.PeerPage(ctx, q, cursor)
		return page.Items, page.Next, err
	})
}

// PeerPage returns a page of the list: the first with an empty cursor, others with the Next of the page before.
func (c *Client) PeerPage(ctx context.Context, q PeerQuery, cursor string) (api.PeerList, error) {
	query := pageQuery(cursor, q.Page)
	if q.Account != "" {
		query.Set("account", q.Account)
	}
	return ask[api.PeerList](ctx, c, read("list peers", query, "api", "v1", "peers"))
}

// Accounts lists accounts, as Peers does peers. A page of 0 is as many at once as the API likes.
func (c *Client) Accounts(ctx context.Context, page int) iter.Seq2[api.Account, error] {
	return pages(func(cursor string) ([]api.Account, string, error) {
		page, err := c.AccountPage(ctx, page, cursor)
		return page.Items, page.Next, err
	})
}

// AccountPage returns a page of the list, as PeerPage does.
func (c *Client) AccountPage(ctx context.Context, size int, cursor string) (api.AccountList, error) {
	return ask[api.AccountList](ctx, c, read("list accounts", pageQuery(cursor, size), "api", "v1", "accounts"))
}

func pageQuery(cursor string, size int) url.Values {
	query := url.Values{}
	if size != 0 {
		query.Set("limit", strconv.Itoa(size))
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	return query
}

// pages goes through pages. A cursor that leads to itself would go on for ever.
func pages[T any](page func(cursor string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for cursor := ""; ; {
			items, next, err := page(cursor)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			switch next {
			case "":
				return
			case cursor:
				yield(none, fmt.Errorf("%w: a page says that it comes after itself", ErrAnswer))
				return
			}
			cursor = next
		}
	}
}
