package httpapi

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// access says who may make requests of an operation.
type access struct {
	public bool       // anybody
	scope  auth.Scope // empty: whoever is recognised
}

const accessKey = "access"

// operation is what routes say of themselves.
type operation struct {
	id, method, path     string
	tag                  string
	scope                auth.Scope
	public               bool // anybody may
	summary, description string
	status               int   // of success; 0: 200, or 204 without a body
	also                 []int // other successes: with the same body, or 304 without one
	refusals             []int // beside those that every operation has
	body                 reflect.Type
	patch                bool // the body is a merge patch of settings of that type
	flat                 bool // the body's names may be in camel case
	maxBody              int64
	example              any
	deprecated           bool
}

// register adds a route that huma reads the requests of and writes the answers to.
func register[I, O any](a *API, o operation, handler func(context.Context, *I) (*O, error)) {
	registry := a.huma.OpenAPI().Components.Schemas
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Tags: []string{o.tag}, Summary: o.summary, Description: o.description,
		DefaultStatus: o.status, Deprecated: o.deprecated, MaxBodyBytes: maxBody, BodyReadTimeout: a.cfg.BodyTimeout,
	}
	if o.maxBody != 0 {
		op.MaxBodyBytes = o.maxBody
	}
	if o.body != nil {
		media := &huma.MediaType{Schema: registry.Schema(o.body, true, ""), Example: o.example}
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": media}}
		if o.patch {
			media.Schema = patchSchema(registry, o.body)
			op.RequestBody.Content["application/merge-patch+json"] = media
		}
		if o.flat {
			media.Schema = flatSchema(registry, o.body)
		}
		media.Schema.PrecomputeMessages()
		o.refusals = append(o.refusals, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	guard(&op, access{public: o.public, scope: o.scope})
	op.Middlewares = huma.Middlewares{unknown, read}
	declare(&op, registry, o.refusals)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		if f := unknownIn(ctx); len(f) > 0 {
			return nil, invalid(f)
		}
		return handler(ctx, in)
	})
	success := op.Responses[strconv.Itoa(cmp.Or(o.status, http.StatusOK))]
	for _, status := range o.also {
		other := &huma.Response{Description: http.StatusText(status), Headers: success.Headers}
		if status != http.StatusNotModified {
			other.Content = success.Content
		}
		op.Responses[strconv.Itoa(status)] = other
	}
	// Huma has described its own errors, which are not what is answered.
	delete(registry.Map(), "ErrorModel")
	delete(registry.Map(), "ErrorDetail")
}

// guard says in the document, and to authorize, who may make requests of an operation.
func guard(op *huma.Operation, who access) {
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	op.Metadata[accessKey] = who
	if who.public {
		op.Security = []map[string][]string{{}}
		return
	}
	scopes := []string{}
	if who.scope != "" {
		scopes = append(scopes, string(who.scope))
	}
	op.Security = []map[string][]string{{"bearer": scopes}, {"mtls": scopes}}
}

// declare describes the problems that an operation answers with.
func declare(op *huma.Operation, registry huma.Registry, refusals []int) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	content := map[string]*huma.MediaType{
		problem.ContentType: {Schema: registry.Schema(reflect.TypeFor[problem.Problem](), true, "")},
	}
	if !op.Metadata[accessKey].(access).public {
		refusals = append(slices.Clone(refusals), http.StatusUnauthorized, http.StatusForbidden)
	}
	for _, status := range refusals {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: content}
	}
	op.Responses["default"] = &huma.Response{Description: "A problem", Content: content}
}

// Mount adds a handler of the caller's as an operation of the API: for method and path of op, which may have variables as
// [http.ServeMux] has them, with an entry in the document. Who does not have the scope is refused before it is called; an
// empty scope asks no more than that somebody is recognised. What op says of its parameters, its body and its answers is for
// the document alone: the handler reads the request, and refuses with package problem. Mount is to be called before the first
// request, and panics for a path that is taken.
func (a *API) Mount(op huma.Operation, scope auth.Scope, handler http.Handler) {
	guard(&op, access{scope: scope})
	declare(&op, a.huma.OpenAPI().Components.Schemas, nil)
	a.huma.OpenAPI().AddOperation(&op)
	a.huma.Adapter().Handle(&op, a.huma.Middlewares().Handler(func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		handler.ServeHTTP(w, r)
	}))
}

// authorize refuses who has not been recognised, and who has not the scope that the operation asks for.
func (a *API) authorize(ctx huma.Context, next func(huma.Context)) {
	who := ctx.Operation().Metadata[accessKey].(access)
	if who.public {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	principal, ok := auth.FromContext(ctx.Context())
	switch {
	case !ok:
		a.refuse(w, r, unauthenticated(w.Header()))
	case who.scope != "" && !principal.May(who.scope):
		a.refuse(w, r, problem.New(http.StatusForbidden, problem.Forbidden, "this needs the scope "+string(who.scope)))
	default:
		next(ctx)
	}
}

type unknownKey struct{}

// unknown finds parameters that an operation does not have, which are told with all else that is wrong with the request.
func unknown(ctx huma.Context, next func(huma.Context)) {
	where := ctx.URL()
	var found []problem.Fault
	for _, name := range slices.Sorted(maps.Keys(where.Query())) {
		if !slices.ContainsFunc(ctx.Operation().Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name }) {
			found = append(found, problem.Fault{Location: abridge("query." + name), Message: "unknown query parameter: leave it out"})
		}
	}
	if len(found) > 0 {
		ctx = huma.WithValue(ctx, unknownKey{}, found)
	}
	next(ctx)
}

func unknownIn(ctx context.Context) []problem.Fault {
	found, _ := ctx.Value(unknownKey{}).([]problem.Fault)
	return found
}

func unauthenticated(header http.Header) *problem.Problem {
	if header.Get("WWW-Authenticate") == "" {
		header.Set("WWW-Authenticate", "Bearer") // RFC 9110, section 15.5.2
	}
	return problem.New(http.StatusUnauthorized, problem.Unauthenticated,
		"nobody was recognised: send a token or a certificate that the node knows")
}
