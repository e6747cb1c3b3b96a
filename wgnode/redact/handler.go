package redact

import (
	"context"
	"log/slog"
)

// handler is a slog.Handler that redacts what it passes on. Attributes that a logger carries are prepared for each mode, so
// that a change of mode holds for them, too.
type handler struct {
	redactor *Redactor
	next     [modes]slog.Handler
	// within is the class of the groups that are open.
	within class
}

// Handler returns a handler that passes records on to next without what the mode says at the time.
func (r *Redactor) Handler(next slog.Handler) slog.Handler {
	h := &handler{redactor: r}
	for m := range h.next {
		h.next[m] = next
	}
	return h
}

// Enabled asks the next handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next[Off].Enabled(ctx, level)
}

// Handle passes a record on.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	mode := h.redactor.Mode()
	if mode == Off {
		return h.next[Off].Handle(ctx, record)
	}
	redacted := slog.NewRecord(record.Time, record.Level, h.redactor.text(mode, record.Message), record.PC)
	record.Attrs(func(a slog.Attr) bool {
		redacted.AddAttrs(h.redactor.attr(mode, h.within, a))
		return true
	})
	return h.next[mode].Handle(ctx, redacted)
}

// WithAttrs returns a handler whose records carry attributes.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &handler{redactor: h.redactor, within: h.within}
	for m := range with.next {
		redacted := attrs
		if Mode(m) != Off {
			redacted = make([]slog.Attr, len(attrs))
			for i, a := range attrs {
				redacted[i] = h.redactor.attr(Mode(m), h.within, a)
			}
		}
		with.next[m] = h.next[m].WithAttrs(redacted)
	}
	return with
}

// WithGroup returns a handler whose records are in a group.
func (h *handler) WithGroup(group string) slog.Handler {
	if group == "" {
		return h
	}
	within := &handler{redactor: h.redactor, within: h.redactor.classOf(group, h.within)}
	for m := range within.next {
		within.next[m] = h.next[m].WithGroup(group)
	}
	return within
}
