package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/wgnode/httpapi"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

type ctx = context.Context

var errBroken = errors.New("broken")

func TestConditions(t *testing.T) {
	w := newWorld(t)
	p := w.create(`{}`)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{}`, "If-None-Match", "*").is(http.StatusCreated)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{}`, "If-None-Match", "*").refused(http.StatusPreconditionFailed, httpapi.PreconditionFailed)
	w.do(http.MethodPut, "/api/v1/accounts/b", `{}`, "If-Match", "*").refused(http.StatusPreconditionFailed, httpapi.PreconditionFailed)

	for path, change := range map[string]string{
		"/api/v1/peers/" + p.ID: `{"speed_limit": {"upload": 8000}}`, "/api/v1/accounts/a": `{"speed_limit": {"upload": 8000}}`,
	} {
		r := w.do(http.MethodGet, path, "").is(http.StatusOK)
		tag := r.header.Get("ETag")
		require.Regexp(t, `^"[A-Za-z0-9_-]{22}"$`, tag)

		same := w.do(http.MethodGet, path, "", "If-None-Match", `"x", W/`+tag).is(http.StatusNotModified)
		require.Equal(t, tag, same.header.Get("ETag"))
		require.Empty(t, same.body)
		w.do(http.MethodGet, path, "", "If-None-Match", `"x"`).is(http.StatusOK)
		w.do(http.MethodGet, path, "", "If-Match", `"x"`).refused(http.StatusPreconditionFailed, httpapi.PreconditionFailed)

		for _, wrong := range []string{`"x"`, "W/" + tag, tag[1:], `x`} {
			w.do(http.MethodPatch, path, change, "If-Match", wrong).refused(http.StatusPreconditionFailed, httpapi.PreconditionFailed)
			w.do(http.MethodDelete, path, "", "If-Match", wrong).refused(http.StatusPreconditionFailed, httpapi.PreconditionFailed)
		}
		after := w.do(http.MethodPatch, path, change, "If-Match", `"x", `+tag).is(http.StatusOK).header.Get("ETag")
		require.NotEqual(t, tag, after)
		require.Equal(t, after, w.do(http.MethodGet, path, "").header.Get("ETag"))
		w.do(http.MethodPatch, path, change, "If-Match", tag).refused(http.StatusPreconditionFailed, httpapi.PreconditionFailed)
		w.do(http.MethodDelete, path, "", "If-Match", after).is(http.StatusNoContent)
	}
}

// Of many who change what they have all read, one succeeds, as often as they read it; so no change is lost.
func TestConditionsRace(t *testing.T) {
	w := newWorld(t)
	w.do(http.MethodPut, "/api/v1/accounts/a", `{"labels": {"n": "0"}}`).is(http.StatusCreated)
	const workers, each = 8, 12
	var g errgroup.Group
	var mu sync.Mutex
	refused := 0
	for range workers {
		g.Go(func() error {
			for done := 0; done < each; {
				r, err := w.try(t.Context(), http.MethodGet, "/api/v1/accounts/a", "")
				if err != nil {
					return err
				}
				var n int
				a := decoded[api.Account](r)
				if _, err := fmt.Sscan(a.Labels["n"], &n); err != nil {
					return err
				}
				tag := r.header.Get("ETag")
				r, err = w.try(t.Context(), http.MethodPatch, "/api/v1/accounts/a", fmt.Sprintf(`{"labels": {"n": "%d"}}`, n+1), "If-Match", tag)
				switch {
				case err != nil:
					return err
				case r.status == http.StatusOK:
					done++
				case r.status == http.StatusPreconditionFailed:
					mu.Lock()
					refused++
					mu.Unlock()
				default:
					return fmt.Errorf("status %d: %s", r.status, r.body)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	a := decoded[api.Account](w.do(http.MethodGet, "/api/v1/accounts/a", ""))
	require.Equal(t, fmt.Sprint(workers*each), a.Labels["n"])
	t.Logf("%d changes, %d refused", workers*each, refused)
}
