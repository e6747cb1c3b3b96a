package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// A node, its store and its API, told of on a listener of its own.
func Example() {
	api := http.NewServeMux() // with the routes of an API
	if err := serveBoth(api); err != nil {
		fmt.Println(err)
	}
}

func serveBoth(api *http.ServeMux) (err error) {
	store := metrics.MeasureStore(wgnode.NewMemoryStore())
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane(), Store: store})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()

	options := metrics.Options{Version: "1.0.0", Redaction: "partial"}
	collector, err := metrics.NewCollector(node, options)
	if err != nil {
		return err
	}
	requests := metrics.NewHTTP(metrics.HTTPOptions{
		Pattern:     func(r *http.Request) string { _, pattern := api.Handler(r); return pattern },
		AuthReasons: []string{"expired", "replayed", "unknown-key"},
	})
	registry, err := metrics.NewRegistry(collector, store, requests)
	if err != nil {
		return err
	}
	admin, err := metrics.AdminHandler(metrics.AdminOptions{Gatherer: registry, Node: node, Options: options})
	if err != nil {
		return err
	}
	if err := node.Start(context.Background()); err != nil {
		return err
	}
	failed := make(chan error, 2)
	for addr, handler := range map[string]http.Handler{"127.0.0.1:9586": admin, "127.0.0.1:8080": requests.Middleware(api)} {
		server := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		go func() { failed <- server.ListenAndServe() }()
	}
	return <-failed
}
