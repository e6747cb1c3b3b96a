package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/internal/pseudonym"
)

// operations makes a span of each operation of a node.
type operations struct {
	tracer trace.Tracer
	mode   pseudonym.Mode
}

var _ wgnode.Tracer = operations{}

// Begin implements [wgnode.Tracer].
func (o operations) Begin(ctx context.Context, op wgnode.Operation) (context.Context, func(error)) {
	ctx, span := o.tracer.Start(ctx, op.Name)
	if !span.IsRecording() {
		return ctx, func(error) { span.End() }
	}
	if op.Items > 0 {
		span.SetAttributes(attribute.Int("waylume.items", op.Items))
	}
	if key, ok := op.Subject.Peer(); ok {
		span.SetAttributes(attribute.String("waylume.peer", o.mode.Peer(key)))
	}
	if id, ok := op.Subject.Account(); ok && o.mode.Account(id) != "" {
		span.SetAttributes(attribute.String("waylume.account", o.mode.Account(id)))
	}
	return ctx, func(err error) {
		o.fail(span, err)
		span.End()
	}
}

// fail tells of an error: its kind, and its words, which may name peers and addresses, if nothing is redacted.
func (o operations) fail(span trace.Span, err error) {
	if err == nil {
		return
	}
	text := ""
	if o.mode == pseudonym.Off {
		text = err.Error()
	}
	span.SetAttributes(attribute.String("error.type", kindOf(err)))
	span.SetStatus(codes.Error, text)
}

// kindOf is an error in a word of few.
func kindOf(err error) string {
	for _, k := range []struct {
		err  error
		kind string
	}{
		{context.Canceled, "canceled"}, {context.DeadlineExceeded, "timeout"}, {wgnode.ErrNotFound, "not_found"},
		{wgnode.ErrExists, "exists"}, {wgnode.ErrNotAdmitted, "not_admitted"}, {wgnode.ErrInvalid, "invalid"}, {wgnode.ErrAccountInUse, "account_in_use"},
		{wgnode.ErrNotStarted, "not_started"}, {wgnode.ErrClosed, "closed"}, {wgnode.ErrNotSupported, "not_supported"},
		{wgnode.ErrKeyMismatch, "key_mismatch"}, {wgnode.ErrKeyOverlap, "key_overlap"}, {wgnode.ErrCorrupt, "corrupt"},
		{ipam.ErrExhausted, "pool_exhausted"}, {ipam.ErrTaken, "address_taken"}, {ipam.ErrQuarantined, "address_quarantined"},
		{ipam.ErrReserved, "address_reserved"},
	} {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	return "_OTHER" // as the semantic conventions have it
}
