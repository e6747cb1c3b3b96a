package supabasetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/waylume/waylume/registry"
)

func (f *Fleet) register(ctx context.Context, c *credential, body []byte) (any, *problem) {
	var r registry.Registration
	if err := strictly(body, &r); err != nil {
		return nil, invalid(http.StatusBadRequest, err.Error())
	}
	if r.Name != c.name {
		return nil, forbidden("the credential is of %q", c.name)
	}
	registered, err := f.cfg.Registry.Register(ctx, r)
	if err != nil {
		return nil, of(err)
	}
	return struct {
		registry.Registered
		ControlKeys json.RawMessage `json:"control_keys"`
	}{registered, f.keys()}, nil
}

func (f *Fleet) heartbeat(ctx context.Context, c *credential, body []byte) (any, *problem) {
	h, refused := speaks[registry.Heartbeat](body, c, func(h *registry.Heartbeat) registry.ID { return h.Server })
	if refused != nil {
		return nil, refused
	}
	answer, err := f.cfg.Registry.Heartbeat(ctx, h)
	if err != nil {
		return nil, of(err)
	}
	return struct {
		registry.Answer
		ControlKeys json.RawMessage `json:"control_keys"`
	}{answer, f.keys()}, nil
}

func (f *Fleet) drain(ctx context.Context, c *credential, body []byte) (any, *problem) {
	type question struct {
		Server   registry.ID `json:"server"`
		Draining bool        `json:"draining"`
	}
	q, refused := speaks[question](body, c, func(q *question) registry.ID { return q.Server })
	if refused != nil {
		return nil, refused
	}
	return nothing(f.cfg.Registry.Drain(ctx, q.Server, q.Draining))
}

func (f *Fleet) deregister(ctx context.Context, c *credential, body []byte) (any, *problem) {
	type question struct {
		Server registry.ID `json:"server"`
	}
	q, refused := speaks[question](body, c, func(q *question) registry.ID { return q.Server })
	if refused != nil {
		return nil, refused
	}
	return nothing(f.cfg.Registry.Deregister(ctx, q.Server))
}

func (f *Fleet) reportUsage(ctx context.Context, c *credential, body []byte) (any, *problem) {
	r, refused := speaks[registry.UsageReport](body, c, func(r *registry.UsageReport) registry.ID { return r.Server })
	if refused != nil {
		return nil, refused
	}
	receipt, err := f.cfg.Registry.ReportUsage(ctx, r)
	if err != nil {
		return nil, of(err)
	}
	return receipt, nil
}

// speaks reads a body that speaks for a server, which must be the credential's.
func speaks[T any](body []byte, c *credential, server func(*T) registry.ID) (T, *problem) {
	var q T
	if err := strictly(body, &q); err != nil {
		return q, invalid(http.StatusBadRequest, err.Error())
	}
	if server(&q) != c.server {
		return q, forbidden("the credential is that of another server")
	}
	return q, nil
}

func nothing(err error) (any, *problem) {
	if err != nil {
		return nil, of(err)
	}
	return struct{}{}, nil
}

// problem is a refusal (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func (p *problem) write(w http.ResponseWriter) {
	q := *p
	q.Title = strings.ToUpper(p.Type[:1]) + strings.ReplaceAll(p.Type[1:], "-", " ")
	q.Type = "urn:waylume:fleet:" + p.Type
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(q) // who asked is gone, then
}

func denied(format string, args ...any) *problem {
	return &problem{Type: "denied", Status: http.StatusUnauthorized, Detail: fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) *problem {
	return &problem{Type: "denied", Status: http.StatusForbidden, Detail: fmt.Sprintf(format, args...)}
}

func invalid(status int, detail string) *problem {
	return &problem{Type: "invalid", Status: status, Detail: detail}
}

// of is the problem of an error of a registry.
func of(err error) *problem {
	for _, kind := range []struct {
		err    error
		name   string
		status int
	}{
		{registry.ErrInvalid, "invalid", http.StatusBadRequest},
		{registry.ErrNameTaken, "name-taken", http.StatusConflict},
		{registry.ErrUnknownServer, "unknown-server", http.StatusNotFound},
		{registry.ErrSuperseded, "superseded", http.StatusConflict},
		{registry.ErrDenied, "denied", http.StatusForbidden},
		{registry.ErrGap, "gap", http.StatusConflict},
		{registry.ErrConflict, "conflict", http.StatusConflict},
	} {
		if errors.Is(err, kind.err) {
			return &problem{Type: kind.name, Status: kind.status, Detail: err.Error()}
		}
	}
	return &problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Detail: "the registry does not answer"}
}
