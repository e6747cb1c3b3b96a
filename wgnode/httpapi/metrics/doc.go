// Package metrics tells Prometheus of a node, its API and its store.
//
// [NewCollector] reads a node when it is scraped: what the node knows, and one question to the dataplane that costs the same for any
// number of peers. [NewHTTP] is a middleware that counts requests; [MeasureStore] wraps a store;
// [NewFleet] and [NewLoad] are asked for what a member of a fleet knows. [NewRegistry] puts them together with
// the Go runtime and the process, and [AdminHandler] serves them on a listener of its own.
//
// Labels have values from closed sets; what is in none of them is "other". Series of single peers are served at /metrics/peers alone,
// up to a bound, unless [Options].PerPeer asks for them: peers are named as [Options].Redaction says. All series are in docs/metrics.md.
//
// It starts no goroutine and needs no privilege.
//
//	registry, err := metrics.NewRegistry(collector, requests, store)
//	if err != nil {
//		return err
//	}
//	admin, err := metrics.AdminHandler(metrics.AdminOptions{Gatherer: registry, Node: node})
//	if err != nil {
//		return err
//	}
//	server := &http.Server{Handler: admin, ReadHeaderTimeout: 5 * time.Second}
package metrics
