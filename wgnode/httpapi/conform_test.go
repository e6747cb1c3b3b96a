package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// contract holds answers to the document.
type contract struct {
	mux        *http.ServeMux
	operations map[string]described // by the mux's patterns
	responses  map[string]map[string]answered
}

// answered is an answer as the document has it: its schema by content type, none if it has no body.
type answered map[string]*jsonschema.Schema

var theContract = sync.OnceValues(func() (*contract, error) {
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane()})
	if err != nil {
		return nil, err
	}
	defer node.Close()
	handler, err := httpapi.New(httpapi.Config{Node: node})
	if err != nil {
		return nil, err
	}
	text, err := handler.OpenAPI()
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", document); err != nil {
		return nil, err
	}
	c := &contract{http.NewServeMux(), map[string]described{}, map[string]map[string]answered{}}
	all, err := operationsOf(text)
	if err != nil {
		return nil, err
	}
	for _, op := range all {
		pattern := op.method + " " + op.path
		c.mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
		c.operations[pattern], c.responses[pattern] = op, map[string]answered{}
		for status, response := range op.responses {
			forms := answered{}
			content, _ := response.(map[string]any)["content"].(map[string]any)
			for contentType, media := range content {
				if _, ok := media.(map[string]any)["schema"]; !ok {
					forms[contentType] = nil
					continue
				}
				forms[contentType], err = compiler.Compile("openapi.json#" + op.pointer + "/responses/" + status + "/content/" +
					strings.ReplaceAll(contentType, "/", "~1") + "/schema")
				if err != nil {
					return nil, err
				}
			}
			c.responses[pattern][status] = forms
		}
	}
	return c, nil
})

// conforms holds an answer to the document.
func conforms(request *http.Request, r reply) error {
	c, err := theContract()
	if err != nil {
		return err
	}
	_, pattern := c.mux.Handler(request)
	op, ok := c.operations[pattern]
	if !ok {
		return nil // the document does not tell of paths that there are not
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s %s: status %d: %s: %.400s", request.Method, request.URL, r.status, fmt.Sprintf(format, args...), r.body)
	}
	forms, ok := c.responses[pattern][strconv.Itoa(r.status)]
	if !ok && r.status < 400 {
		return fail("the document of %s does not have it", op.id)
	}
	if !ok {
		forms = c.responses[pattern]["default"]
	}
	contentType := r.header.Get("Content-Type")
	if len(forms) == 0 || request.Method == http.MethodHead {
		if len(r.body) > 0 {
			return fail("there should be no body")
		}
		return nil
	}
	schema, ok := forms[contentType]
	if !ok {
		return fail("the document does not have %s", contentType)
	}
	if schema == nil {
		return nil
	}
	if r.status >= 400 && contentType == problem.ContentType && r.header.Get("Cache-Control") != "no-store" {
		return fail("a problem that may be stored")
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.body))
	if err != nil {
		return fail("%v", err)
	}
	if err := schema.Validate(value); err != nil {
		return fail("%v", err)
	}
	return nil
}

// Every operation succeeds as the document says.
func TestWalk(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 12 {
		p := w.create(`{"labels": {"a": "b"}, "data_cap": {"bytes": 1000, "period": {"kind": "rolling", "window": "24h"}, "thresholds": []}}`)
		ids = append(ids, p.ID)
	}
	for _, id := range []string{"gone", "kept"} {
		w.do(http.MethodPut, "/api/v1/accounts/"+id, `{"data_cap": {"bytes": "1GiB"}}`).is(http.StatusCreated)
	}
	const span = "?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"
	walk := map[string]struct {
		id, query, body string
		status          int
	}{
		"livez": {}, "readyz": {}, "get-openapi-json": {}, "get-openapi-yaml": {}, "get-docs": {},
		"list-peers": {query: "?limit=5"}, "legacy-list-peers": {query: "?limit=5"}, "list-accounts": {query: "?limit=1"},
		"create-peer":            {body: `{}`, query: "?qr=svg", status: http.StatusCreated},
		"get-peer":               {id: ids[0]},
		"get-peer-config":        {id: ids[0]},
		"get-peer-usage":         {id: ids[0]},
		"get-peer-quality":       {id: ids[0]},
		"top-up-peer":            {id: ids[0], body: `{"bytes": "5GiB"}`},
		"reset-peer-usage":       {id: ids[0]},
		"change-peer":            {id: ids[0], body: `{"expires_at": "2099-01-01T00:00:00Z", "suspended": true, "grace_period": "1h"}`},
		"rekey-peer":             {id: ids[1], query: "?qr=png", body: `{}`},
		"remove-peer":            {id: ids[2], status: http.StatusNoContent},
		"create-peers":           {body: `{"peers": [{}, {"name": "x"}]}`},
		"remove-peers":           {body: `{"ids": ["` + ids[3] + `", "` + ids[4] + `"]}`, status: http.StatusNoContent},
		"put-account":            {id: "new", body: `{"labels": {"a": "b"}, "data_cap": {"bytes": 1}}`, status: http.StatusCreated},
		"get-account":            {id: "kept"},
		"change-account":         {id: "kept", body: `{"suspended": true}`},
		"remove-account":         {id: "gone", query: "?peers=true", status: http.StatusNoContent},
		"get-account-usage":      {id: "kept"},
		"top-up-account":         {id: "kept", body: `{"bytes": 1}`},
		"reset-account-usage":    {id: "kept"},
		"get-usage":              {query: span + "&account=kept&step=1h"},
		"get-node":               {},
		"drain-node":             {},
		"undrain-node":           {},
		"sync-node":              {},
		"legacy-create-peer":     {body: `{"dataCap": "1GB"}`, status: http.StatusCreated},
		"legacy-get-peer":        {id: ids[5]},
		"legacy-remove-peer":     {body: `{"publicKey": "` + ids[6] + `"}`, status: http.StatusNoContent},
		"legacy-set-speed-limit": {body: `{"publicKey": "` + ids[7] + `", "upload": "1mbit"}`},
		"legacy-set-data-cap":    {body: `{"public_key": "` + ids[7] + `", "data_cap": "1GiB"}`},
	}
	// undrain-node comes after drain-node in the order of ids, and those that create before.
	for _, op := range operations(t, w.api) {
		step, ok := walk[op.id]
		require.True(t, ok, op.id)
		delete(walk, op.id)
		if step.status == 0 {
			step.status = http.StatusOK
		}
		if op.id == "legacy-create-peer" {
			require.NoError(t, w.api.SetDraining(t.Context(), false))
		}
		w.do(op.method, strings.ReplaceAll(op.path, "{id}", step.id)+step.query, step.body).is(step.status)
	}
	require.Empty(t, walk)
}

// What the answers say of themselves, the client's types read without loss.
func TestNoUnknownFields(t *testing.T) {
	w := newWorld(t)
	p := w.create(`{"data_cap": {"bytes": 1, "thresholds": [50]}}`)
	r := w.do(http.MethodGet, "/api/v1/peers/"+p.ID, "")
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	again := p.Peer
	require.NoError(t, d.Decode(&again))
	written, err := json.Marshal(again)
	require.NoError(t, err)
	require.JSONEq(t, string(r.body), string(written))
}
