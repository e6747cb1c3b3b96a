package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/internal/pseudonym"
)

// Options say where traces go. The zero value traces nothing.
type Options struct {
	// Endpoint is the collector's: "https://otel.example.com:4318". Without a path, /v1/traces is added (OTLP/HTTP). Empty: off.
	Endpoint string
	// Headers go with what is sent, such as a key of the collector's. None: those of OTEL_EXPORTER_OTLP_HEADERS, if there are.
	Headers map[string]string
	// Ratio is which part of traces is kept, 0 to 1, those that go on an authenticated caller's aside, who has decided.
	Ratio float64
	// Service names the program; empty: "waylumed". Version is its own, Instance names the node among others.
	Service, Version, Instance string
	// Redaction is "off", by which peers and accounts are named and errors told in words, or "partial", "strict" or "", by which a peer
	// is a hash of its key, as in package metrics, and an error its kind.
	Redaction string
	// Logger is told when the collector cannot be reached, and when it can again. Nil: nobody is.
	Logger *slog.Logger
}

// Tracing sends traces until it is shut down.
type Tracing struct {
	provider *sdk.TracerProvider // nil: off
	tracer   trace.Tracer
	mode     pseudonym.Mode
}

const scope = "github.com/waylume/waylume"

// Setup starts tracing; ctx bounds that alone. It does not wait for the collector. Errors name the option that is wrong.
func Setup(ctx context.Context, opts Options) (*Tracing, error) {
	mode := pseudonym.Mode(opts.Redaction)
	if err := mode.Check(); err != nil {
		return nil, fmt.Errorf("tracing: Options.Redaction: %w", err)
	}
	if !(opts.Ratio >= 0 && opts.Ratio <= 1) { // NaN is neither
		return nil, fmt.Errorf("tracing: Options.Ratio is %v: give 0 to 1", opts.Ratio)
	}
	if opts.Endpoint == "" {
		return &Tracing{tracer: noop.NewTracerProvider().Tracer(scope), mode: mode}, nil
	}
	endpoint, err := endpointOf(opts.Endpoint)
	if err != nil {
		return nil, err
	}
	described, err := describe(ctx, opts)
	if err != nil {
		return nil, err
	}
	to := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(endpoint)}
	if len(opts.Headers) > 0 {
		to = append(to, otlptracehttp.WithHeaders(opts.Headers))
	}
	exporter, err := otlptracehttp.New(ctx, to...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	provider := sdk.NewTracerProvider(
		sdk.WithResource(described),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(opts.Ratio))),
		sdk.WithBatcher(&reporting{SpanExporter: exporter, log: log}),
	)
	return &Tracing{provider: provider, tracer: provider.Tracer(scope, trace.WithInstrumentationVersion(opts.Version)), mode: mode}, nil
}

// endpointOf is where traces are posted.
func endpointOf(text string) (string, error) {
	const want = "give a URL such as https://otel.example.com:4318, with http:// only where nobody listens in"
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("tracing: Options.Endpoint cannot be read: %s", want) // what url.Parse says has the URL, which may hold a password
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", fmt.Errorf("tracing: Options.Endpoint has no scheme http or https, or no host: %s", want)
	case u.User != nil:
		return "", fmt.Errorf("tracing: Options.Endpoint holds credentials: put them into Options.Headers")
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("tracing: Options.Endpoint has a query or a fragment: %s", want)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return u.String(), nil
}

// describe is what says where traces are from: not the host, nor the command line.
func describe(ctx context.Context, opts Options) (*resource.Resource, error) {
	service := opts.Service
	if service == "" {
		service = "waylumed"
	}
	attributes := []attribute.KeyValue{attribute.String("service.name", service)}
	if opts.Version != "" {
		attributes = append(attributes, attribute.String("service.version", opts.Version))
	}
	if opts.Instance != "" {
		attributes = append(attributes, attribute.String("service.instance.id", opts.Instance))
	}
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attributes...))
	if err != nil {
		return nil, fmt.Errorf("tracing: describe the service: %w", err)
	}
	return described, nil
}

// Shutdown sends what is left, as long as ctx lets it, and joins every goroutine. It may be called more than once.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: shut down: %w", err)
	}
	return nil
}

// Tracer is for [wgnode.Config]; nil when tracing is off.
func (t *Tracing) Tracer() wgnode.Tracer {
	if t.provider == nil {
		return nil
	}
	return operations{t.tracer, t.mode}
}

// reporting logs the first of a row of failures, and the success that ends it. The SDK would write to the standard logger.
type reporting struct {
	sdk.SpanExporter
	log     *slog.Logger
	failing atomic.Bool
}

func (r *reporting) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	switch err := r.SpanExporter.ExportSpans(ctx, spans); {
	case err == nil && r.failing.Swap(false):
		r.log.Info("traces are sent again")
	case err != nil && !r.failing.Swap(true):
		r.log.Warn("traces not sent", "error", err, "spans", len(spans))
	}
	return nil
}
