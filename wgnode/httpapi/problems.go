package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// Types of problems, beside those of package problem.
const (
	Draining           problem.Type = "/problems/draining"               // 503: the node takes no new peers
	PreconditionFailed problem.Type = "/problems/precondition-failed"    // 412: what If-Match or If-None-Match asks for is not so
	PoolExhausted      problem.Type = "/problems/pool-exhausted"         // 409: no address is free
	UnsupportedMedia   problem.Type = "/problems/unsupported-media-type" // 415: the body is not JSON
	NotSupported       problem.Type = "/problems/not-supported"          // 501: this system or this node cannot do it
	NoUsageLog         problem.Type = "/problems/no-usage-log"           // 501: the node keeps no log of usage
	Timeout            problem.Type = "/problems/timeout"                // 408: the body came too slowly
)

// maxFaults bounds an answer.
const maxFaults = 100

// requestID is the request's, as a middleware has put it into the answer's header.
func requestID(header http.Header) string { return header.Get("X-Request-Id") }

// refuse answers with a problem.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	p.Instance = requestID(w.Header())
	a.logged(r.Context(), r, p)
	p.Write(w)
}

// logged tells the log why a request failed that is not the caller's fault.
func (a *API) logged(ctx context.Context, r *http.Request, p *problem.Problem) {
	if p.Status < http.StatusInternalServerError || p.Err == nil {
		return
	}
	a.log.ErrorContext(ctx, "request failed", "request", p.Instance, "method", r.Method, "path", r.URL.Path, "status", p.Status,
		"error", p.Err)
}

// asProblem makes a problem of what huma would answer when it refuses a request itself, and completes those of the handlers'.
func (a *API) asProblem(ctx huma.Context, _ string, v any) (any, error) {
	r, w := humago.Unwrap(ctx)
	switch v := v.(type) {
	case *huma.ErrorModel:
		p := fromHuma(v, unknownIn(ctx.Context()))
		if r, ok := ctx.(*reading); ok && v.Status == http.StatusInternalServerError && r.problem() != nil {
			p = r.problem()
		}
		p.Instance = requestID(w.Header())
		a.logged(ctx.Context(), r, p)
		w.Header().Set("Cache-Control", "no-store")
		return p, nil
	case *problem.Problem:
		v.Instance = requestID(w.Header())
		a.logged(ctx.Context(), r, v)
		w.Header().Set("Cache-Control", "no-store")
	}
	return v, nil
}

// fromHuma is the problem of a request that huma has refused, in which other faults were found before.
func fromHuma(model *huma.ErrorModel, faults []problem.Fault) *problem.Problem {
	faults = slices.Clone(faults)
	hums := make(map[string]bool) // locations of faults that huma has found
	for _, detail := range model.Errors {
		if _, ours := detail.Value.(undecoded); !ours {
			hums[detail.Location] = true
		}
	}
	for _, detail := range model.Errors {
		if _, ours := detail.Value.(undecoded); ours && hums[detail.Location] {
			continue
		}
		faults = append(faults, problem.Fault{Location: abridge(detail.Location), Message: detail.Message})
	}
	switch model.Status {
	case http.StatusUnprocessableEntity:
		return invalid(faults)
	case http.StatusRequestEntityTooLarge:
		return problem.New(model.Status, problem.TooLarge, model.Detail+": send less, or in parts")
	case http.StatusUnsupportedMediaType:
		return problem.New(model.Status, UnsupportedMedia, "send the body as application/json")
	case http.StatusRequestTimeout:
		return problem.New(model.Status, Timeout, "the body has not come in time: send it again")
	case http.StatusInternalServerError:
		return internal(fmt.Errorf("%s: %v", model.Detail, faults))
	default:
		return problem.New(model.Status, problem.Malformed, model.Detail, bounded(faults)...)
	}
}

// invalid is the problem of a request that breaks rules.
func invalid(faults []problem.Fault) *problem.Problem {
	detail := "see errors for all that is wrong with the request"
	if len(faults) > maxFaults {
		detail = fmt.Sprintf("errors has the first %d of %d things that are wrong with the request", maxFaults, len(faults))
	}
	return problem.New(http.StatusUnprocessableEntity, problem.Invalid, detail, bounded(faults)...)
}

func bounded(faults []problem.Fault) []problem.Fault { return faults[:min(len(faults), maxFaults)] }

// internal is the problem of a fault of the node's. Its reason is for the log alone.
func internal(err error) *problem.Problem {
	return problem.New(http.StatusInternalServerError, problem.Internal,
		"the node could not do it: its log has the reason; trying again may help").Because(err)
}

// refusal is the problem that an error of the node's means to whoever made the request.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	if bulk, ok := errors.AsType[*wgnode.BulkError](err); ok {
		return bulkRefusal(bulk)
	}
	if v, ok := errors.AsType[*wgnode.ValidationError](err); ok {
		return invalid(faultsOf(v, "body"))
	}
	status, kind, detail := kindOf(err)
	if kind == problem.Internal {
		return internal(err)
	}
	return problem.New(status, kind, detail).Because(err)
}

// kindOf says what an error is to whoever made the request.
func kindOf(err error) (status int, kind problem.Type, detail string) {
	for _, k := range []struct {
		is     error
		status int
		kind   problem.Type
		detail string
	}{
		{wgnode.ErrNotFound, http.StatusNotFound, problem.NotFound, "there is no such peer or account"},
		{wgnode.ErrExists, http.StatusConflict, problem.Conflict,
			"the peer is there already, with a different specification: change it, or use another key"},
		{wgnode.ErrAccountInUse, http.StatusConflict, problem.Conflict,
			"the account still has peers: remove or move them first, or ask with peers=true"},
		{wgnode.ErrKeyOverlap, http.StatusConflict, problem.Conflict, "an overlap of the node's keys is under way: wait for its end"},
		{ipam.ErrExhausted, http.StatusConflict, PoolExhausted, "no address is free: remove peers, or give the node a larger pool"},
		{ipam.ErrTaken, http.StatusConflict, problem.Conflict,
			"an address that was asked for is another peer's: ask for another one, or for none"},
		{ipam.ErrQuarantined, http.StatusConflict, problem.Conflict,
			"an address that was asked for rests after its last use: wait, or ask for another one or none"},
		{ipam.ErrReserved, http.StatusConflict, problem.Conflict,
			"an address that was asked for is never leased: ask for another one, or for none"},
		{wgnode.ErrClosed, http.StatusServiceUnavailable, problem.Unavailable, "the node is closed"},
		{wgnode.ErrNotStarted, http.StatusServiceUnavailable, problem.Unavailable, "the node is not started yet: try again"},
		{wgnode.ErrNoUsageLog, http.StatusNotImplemented, NoUsageLog, "the node keeps no log of usage: set one in its configuration"},
		{context.Canceled, http.StatusServiceUnavailable, problem.Unavailable, "the request was given up"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, problem.Unavailable, "it took too long: try again"},
		{wgnode.ErrNotAdmitted, http.StatusConflict, problem.Conflict,
			"the node does not admit the peer: what it was asked for has been overtaken by something later"},
	} {
		if errors.Is(err, k.is) {
			return k.status, k.kind, k.detail
		}
	}
	if e, ok := errors.AsType[*wgnode.NotSupportedError](err); ok {
		return http.StatusNotImplemented, NotSupported, e.Error()
	}
	if errors.Is(err, usagelog.ErrInvalid) {
		return http.StatusUnprocessableEntity, problem.Invalid, err.Error()
	}
	return http.StatusInternalServerError, problem.Internal, ""
}

// bulkRefusal is the problem of a request for many that was refused as a whole, with the fault of each item.
func bulkRefusal(bulk *wgnode.BulkError) *problem.Problem {
	list := "body.peers"
	if bulk.Op == "remove" {
		list = "body.ids"
	}
	var faults []problem.Fault
	status, kind := http.StatusUnprocessableEntity, problem.Invalid
	for i, item := range bulk.Items {
		at := fmt.Sprintf("%s[%d]", list, item.Index)
		if v, ok := errors.AsType[*wgnode.ValidationError](item.Err); ok {
			faults = append(faults, faultsOf(v, at)...)
			status, kind = http.StatusUnprocessableEntity, problem.Invalid
			continue
		}
		s, k, detail := kindOf(item.Err)
		if k == problem.Internal {
			return internal(bulk)
		}
		if i == 0 {
			status, kind = s, k
		}
		faults = append(faults, problem.Fault{Location: at, Message: detail})
	}
	p := invalid(faults)
	p.Detail = "nothing was done: " + p.Detail
	return problem.New(status, kind, p.Detail, p.Faults...).Because(bulk)
}
