package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// asker makes requests from the document: such as it asks for, and such as it does not.
type asker struct {
	*world
	schemas  map[string]map[string]any // of the document's components
	peers    []string                  // ids of some peers, which may be gone
	accounts []string
}

// Whatever is asked, in whatever order, is answered as the document says, and never as the node's fault.
func TestAnyRequest(t *testing.T) {
	w := newWorld(t)
	a := &asker{world: w, accounts: []string{"a", "b", "a/b", "ü"}}
	text, err := w.api.OpenAPI()
	require.NoError(t, err)
	var document struct {
		Components struct{ Schemas map[string]map[string]any }
	}
	require.NoError(t, json.Unmarshal(text, &document))
	a.schemas = document.Components.Schemas
	for range 4 {
		a.peers = append(a.peers, w.create(`{"data_cap": {"bytes": "1GiB"}}`).ID)
	}
	all := operations(t, w.api)
	statuses, succeeded := map[int]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(30, 40).Draw(t, "requests") {
			op := rapid.SampledFrom(all).Draw(t, "operation")
			method, target, body, headers := a.request(t, op)
			r, err := w.try(w.t.Context(), method, target, body, headers...)
			if err != nil {
				t.Fatalf("%s %s %s: %v", method, target, body, err)
			}
			if statuses[r.status]++; r.status < 300 {
				succeeded[op.id]++
			}
			var p problem.Problem
			if r.status >= 400 && json.Unmarshal(r.body, &p) != nil {
				t.Fatalf("%s %s: status %d: no problem: %s", method, target, r.status, r.body)
			}
			if r.status >= 500 && p.Type != httpapi.Draining {
				t.Fatalf("%s %s %s: %s; log: %s", method, target, body, r.body, w.log)
			}
			a.learn(r)
		}
	})
	t.Logf("answers by status: %v; operations that succeeded: %d of %d", statuses, len(succeeded), len(all))
	// That each operation can succeed is TestWalk's; here it is by chance which do.
	require.Greater(t, len(succeeded), len(all)/2)
}

// learn remembers a peer that was created.
func (a *asker) learn(r reply) {
	var p struct {
		ID        string `json:"id"`
		PublicKey string `json:"public_key"`
	}
	if r.status < 300 && json.Unmarshal(r.body, &p) == nil && p.ID != "" && p.PublicKey != "" {
		a.peers = append(a.peers[max(0, len(a.peers)-20):], p.ID)
	}
}

// request is one for an operation.
func (a *asker) request(t *rapid.T, op described) (method, target, body string, headers []string) {
	method, target = op.method, op.path
	query := url.Values{}
	for _, p := range op.parameters {
		switch p.In {
		case "path":
			target = strings.ReplaceAll(target, "{"+p.Name+"}", url.PathEscape(a.id(t, op)))
		case "query":
			if p.Required || rapid.IntRange(0, 3).Draw(t, "given") == 0 {
				query.Set(p.Name, a.text(a.value(t, p.Schema, 0)))
			}
		case "header":
			if rapid.IntRange(0, 7).Draw(t, "conditional") == 0 {
				headers = append(headers, p.Name, rapid.SampledFrom([]string{"*", `"x"`, `W/"x", "y"`, ",", `"`, "a"}).Draw(t, "tags"))
			}
		}
	}
	if rapid.IntRange(0, 30).Draw(t, "odd") == 0 {
		query.Set(rapid.String().Draw(t, "name"), rapid.String().Draw(t, "value"))
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if op.body != nil {
		body = a.body(t, op.body)
		if rapid.IntRange(0, 20).Draw(t, "type") == 0 {
			types := []string{"", "text/plain", "application/merge-patch+json", "application/json; charset=utf-8", "a/b+json", ";", "+", "multipart/form-data"}
			headers = append(headers, "Content-Type", rapid.SampledFrom(types).Draw(t, "content type"))
		}
	}
	return method, target, body, headers
}

// id is one of a peer or an account that may be there, or no such thing.
func (a *asker) id(t *rapid.T, op described) string {
	known := a.peers
	if strings.Contains(op.path, "/accounts/") {
		known = a.accounts
	}
	if rapid.IntRange(0, 9).Draw(t, "known") > 0 {
		return rapid.SampledFrom(known).Draw(t, "id")
	}
	return rapid.StringN(1, 40, 200).Filter(func(s string) bool { return s != "." && s != ".." }).Draw(t, "hostile id")
}

// body is JSON from a schema, or with a small chance any text.
func (a *asker) body(t *rapid.T, schema map[string]any) string {
	if rapid.IntRange(0, 20).Draw(t, "garbage") == 0 {
		return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"null", "[]", "{", `{"a":`, "1e999", `"`, strings.Repeat("[", 30_000), strings.Repeat(`{"a":`, 10_000), "\xff\xfe", `{"a": 1, "a": 2}`,
		})).Draw(t, "body")
	}
	text, err := json.Marshal(a.value(t, schema, 0))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// text is a value as a query has it.
func (a *asker) text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return fmt.Sprint(v)
}

// value is mostly of a schema, or else anything.
func (a *asker) value(t *rapid.T, schema map[string]any, depth int) any {
	if ref, ok := schema["$ref"].(string); ok {
		schema = a.schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
	if rapid.IntRange(0, 40).Draw(t, "hostile") == 0 {
		return a.anything(t)
	}
	if forms, ok := schema["anyOf"].([]any); ok {
		if examples, ok := schema["examples"].([]any); ok && rapid.Bool().Draw(t, "example") {
			return rapid.SampledFrom(examples).Draw(t, "examples")
		}
		return a.value(t, rapid.SampledFrom(forms).Draw(t, "form").(map[string]any), depth)
	}
	if values, ok := schema["enum"].([]any); ok {
		return rapid.SampledFrom(values).Draw(t, "enum")
	}
	kind, _ := schema["type"].(string)
	if kinds, ok := schema["type"].([]any); ok {
		kind = rapid.SampledFrom(kinds).Draw(t, "kind").(string)
	}
	switch kind {
	case "object":
		return a.object(t, schema, depth)
	case "array":
		items := make([]any, rapid.IntRange(0, 3).Draw(t, "items"))
		for i := range items {
			items[i] = a.value(t, schema["items"].(map[string]any), depth+1)
		}
		return items
	case "integer":
		least, _ := schema["minimum"].(float64)
		most, ok := schema["maximum"].(float64)
		if !ok || most > 1<<62 {
			most = 1 << 62
		}
		return rapid.Int64Range(int64(least), int64(most)).Draw(t, "integer")
	case "boolean":
		return rapid.Bool().Draw(t, "boolean")
	case "string":
		return a.string(t, schema)
	}
	return nil
}

func (a *asker) object(t *rapid.T, schema map[string]any, depth int) any {
	object := map[string]any{}
	required, _ := schema["required"].([]any)
	members, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if slices.Contains(required, any(name)) || rapid.IntRange(0, 3+depth).Draw(t, "given") == 0 {
			object[name] = a.value(t, members[name].(map[string]any), depth+1)
		}
	}
	if members["publicKey"] != nil && rapid.Bool().Draw(t, "of one that is there") {
		delete(object, "publicKey")
		object["public_key"] = rapid.SampledFrom(a.peers).Draw(t, "key")
	}
	if values, ok := schema["additionalProperties"].(map[string]any); ok {
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			object[rapid.StringN(0, 10, 80).Draw(t, "name")] = a.value(t, values, depth+1)
		}
	} else if rapid.IntRange(0, 40).Draw(t, "unknown") == 0 {
		object[rapid.String().Draw(t, "name")] = a.anything(t)
	}
	return object
}

func (a *asker) string(t *rapid.T, schema map[string]any) string {
	if examples, ok := schema["examples"].([]any); ok && rapid.Bool().Draw(t, "example") {
		return a.text(rapid.SampledFrom(examples).Draw(t, "examples"))
	}
	pattern, _ := schema["pattern"].(string)
	format, _ := schema["format"].(string)
	switch {
	case strings.Contains(pattern, "{43}"):
		return rapid.OneOf(rapid.SampledFrom(a.peers), rapid.StringMatching(`[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=`)).Draw(t, "key")
	case pattern != "":
		return rapid.SampledFrom([]string{"72h", "5m", "87600h", "0s", "1ns", "-1h", "0.5h", "2562047h", "1h30m"}).Draw(t, "duration")
	case format == "date-time":
		return rapid.SampledFrom([]string{
			"2099-01-01T00:00:00Z", "2001-01-01T00:00:00Z", "2026-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z",
			"9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00+12:00", "2099-02-30T00:00:00Z", "2099-01-01T00:00:60Z",
		}).Draw(t, "time")
	case format == "ip":
		return rapid.SampledFrom([]string{"10.0.0.7", "fd00::7", "0.0.0.0", "::", "fe80::1%eth0", "::ffff:10.0.0.1", "255.255.255.255"}).Draw(t, "address")
	}
	most := 40
	if n, ok := schema["maxLength"].(float64); ok {
		most = int(n)
	}
	return rapid.OneOf(
		rapid.SampledFrom([]string{"a", "b", "a/b", "Europe/Berlin", "5GiB", "20mbit", "1h", "Local", "../x", "\x00", ""}),
		rapid.StringN(0, most, -1),
	).Draw(t, "text")
}

func (a *asker) anything(t *rapid.T) any {
	return rapid.OneOf(
		rapid.Just[any](nil), rapid.Just[any](map[string]any{}), rapid.Just[any]([]any{}), rapid.Just[any](-1), rapid.Just[any](1.5),
		rapid.Just[any](1e300), rapid.Just[any](true), rapid.Just[any](json.Number("18446744073709551615")),
		rapid.Just[any](json.Number("99999999999999999999999")), rapid.Map(rapid.String(), func(s string) any { return s }),
	).Draw(t, "anything")
}

// A method that an operation does not have is refused, and HEAD is GET without a body.
func TestMethods(t *testing.T) {
	w := newWorld(t)
	for _, op := range operations(t, w.api) {
		target := strings.ReplaceAll(op.path, "{id}", "x")
		w.do(http.MethodOptions, target, "").refused(http.StatusMethodNotAllowed, problem.MethodNotAllowed)
	}
	head := w.do(http.MethodHead, "/api/v1/peers", "").is(http.StatusOK)
	require.Empty(t, head.body)
}
