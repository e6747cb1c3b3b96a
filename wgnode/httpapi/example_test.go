package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func Example() {
	if err := serve(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 401 application/problem+json
	// 201 application/json
}

func serve() error {
	node, err := wgnode.New(wgnode.Config{
		Dataplane: wgnodetest.NewDataplane(), // for example from wgnode/userspace
		Endpoint:  "vpn.example.com:51820",
	})
	if err != nil {
		return err
	}
	defer node.Close()
	if err := node.Start(context.Background()); err != nil {
		return err
	}
	handler, err := httpapi.New(httpapi.Config{Node: node, Version: "1.0.0"})
	if err != nil {
		return err
	}

	// More can be served under the same scopes, and stands in the same document.
	handler.Mount(huma.Operation{OperationID: "motd", Method: http.MethodGet, Path: "/api/v1/motd", Summary: "The message of the day"},
		auth.PeersRead, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))

	// Whoever knows the token may do anything with peers. Real programs have tokens that are compared in constant time, or
	// signed.
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer example" {
				who := auth.Principal{Name: "control", Scopes: []auth.Scope{auth.PeersRead, auth.PeersWrite}}
				r = r.WithContext(auth.NewContext(r.Context(), who))
			}
			next.ServeHTTP(w, r)
		})
	}
	server := httptest.NewServer(authenticate(handler))
	defer server.Close()

	for _, token := range []string{"", "Bearer example"} {
		request, err := http.NewRequest(http.MethodPost, server.URL+"/api/v1/peers", strings.NewReader(`{"speed_limit": {"download": "20mbit"}}`))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", token)
		response, err := server.Client().Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		fmt.Println(response.StatusCode, response.Header.Get("Content-Type"))
	}
	return nil
}
