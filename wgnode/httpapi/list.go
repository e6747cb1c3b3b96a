package httpapi

import (
	"encoding/base64"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// after is the sequence of the last entry that was seen.
func after(p param.Page) (uint64, error) {
	if p.Cursor == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	if number, ok := strings.CutPrefix(string(text), "after "); err == nil && ok {
		if sequence, err := strconv.ParseUint(number, 10, 64); err == nil && cursor(sequence) == p.Cursor {
			return sequence, nil
		}
	}
	return 0, badCursor()
}

func badCursor() error {
	return invalid([]problem.Fault{{
		Location: "query.cursor", Message: "is none that the node gave: leave it out to start at the beginning",
	}})
}

func cursor(sequence uint64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("after " + strconv.FormatUint(sequence, 10)))
}

// paged reads a page off entries, of which there is one more than fits if there is a next page.
func paged[E, V any](entries iter.Seq[E], limit int, sequence func(E) uint64, view func(E) V) (items []V, next string) {
	items = make([]V, 0, min(limit, 64))
	var last uint64
	for e := range entries {
		if len(items) == limit {
			return items, cursor(last)
		}
		items, last = append(items, view(e)), sequence(e)
	}
	return items, ""
}

// running refuses while a list would be empty only because the node does not run.
func (a *API) running() error {
	_, err := a.cfg.Node.Peer(wgtypes.Key{}) // which is nobody's
	if status, kind, detail := kindOf(err); status == http.StatusServiceUnavailable {
		return problem.New(status, kind, detail).Because(err)
	}
	return nil
}

// answer is what a route gives.
type answer[T any] struct {
	Status       int    `json:"-"`
	CacheControl string `header:"Cache-Control"`
	Body         T
}

// tagged is an answer with an entity tag.
type tagged[T any] struct {
	Status       int    `json:"-"`
	ETag         string `header:"ETag" doc:"Of the peer or account, for If-Match and If-None-Match."`
	Location     string `header:"Location" doc:"Of what was created, or has another id now."`
	CacheControl string `header:"Cache-Control"`
	Body         T
}

const (
	secret     = "no-store"          // holds a key, or holds for this moment alone
	revalidate = "private, no-cache" // may change at any time
)
