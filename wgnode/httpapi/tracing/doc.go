// Package tracing sends OpenTelemetry traces of an API and its node to a collector: from the request, over what the node does, to each
// transaction with the kernel.
//
// [Setup] starts it; without an endpoint it is off, and costs nothing. [Tracing.Tracer] goes into [wgnode.Config], and
// [Tracing.Middleware] before the API's routes, right after authentication:
//
//	traces, err := tracing.Setup(ctx, tracing.Options{Endpoint: "https://otel.example.com:4318", Ratio: 0.1})
//	if err != nil {
//		return err
//	}
//	defer traces.Shutdown(ctx)
//	node, err := wgnode.New(wgnode.Config{Dataplane: dataplane, Tracer: traces.Tracer()})
//	...
//	handler := authenticate(traces.Middleware(mux.Pattern)(mux))
//
// A request is one trace: "POST /api/v1/peers", in it "add peer", in that "write to store" and "apply to dataplane", and in that, with
// the kernel's dataplane, "htb class", "nftables transaction" and "wireguard configuration". What the node does of its own accord,
// "sync", "checkpoint" and "meet deadlines", are traces of their own. Peers that callers add at one time go through store and
// dataplane together: that is part of the trace of one of them.
//
// # What is told, and to whom
//
// Spans have no path, query, body, address or text of an error unless [Options].Redaction is "off": a peer is a hash, an error its kind.
//
// The context in a request's traceparent (W3C Trace Context) is the parent only if whoever sent it was authenticated before; from
// anybody else it is a link, so that no stranger chooses identifiers of traces or has them all kept.
//
// The exporter reads the variables OTEL_EXPORTER_OTLP_* of the environment, for what [Options] leave open: headers with credentials,
// certificates, time-outs. It has goroutines of its own, which [Tracing.Shutdown] joins, but for a connection that has nothing left to
// send and ends by itself. It never holds up a request: what the collector does not take in time is lost.
package tracing
