package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

const description = "Peers and accounts of a Waylume node. A refusal is a problem (RFC 9457) of a type that does not change, with " +
	"all that is wrong with the request. Rates are whole numbers of bit/s, or in requests texts like 20mbit; amounts of " +
	"data are whole numbers of bytes, or in requests texts like 5GiB, and may be above 2^53; durations are texts like 72h; times are RFC 3339."

// documents are the document in its forms.
type documents struct{ json, yaml, page []byte }

// render writes the document, when it is first asked for: all that is mounted is in it.
func (a *API) render() (documents, error) {
	var d documents
	text, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return d, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return d, err
	}
	d.json = indented.Bytes()
	if d.yaml, err = a.huma.OpenAPI().YAML(); err != nil {
		return d, fmt.Errorf("write the OpenAPI document as YAML: %w", err)
	}
	d.page, err = renderPage(a.huma.OpenAPI())
	return d, err
}

// OpenAPI returns the document as JSON, with all that was mounted before the first call or the first request for it.
func (a *API) OpenAPI() ([]byte, error) {
	d, err := a.document()
	return d.json, err
}

func (a *API) addDocumentRoutes() {
	serve := func(id, path, contentType, summary string, form func(documents) []byte) {
		op := huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"document"}, Summary: summary,
			Responses: map[string]*huma.Response{"200": {
				Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{contentType: {}},
			}},
		}
		a.Mount(op, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d, err := a.document()
			if err != nil {
				a.refuse(w, r, internal(err))
				return
			}
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Cache-Control", revalidate)
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if contentType == pageType {
				w.Header().Set("Content-Security-Policy", pagePolicy())
			}
			_, _ = w.Write(form(d)) // who asked is gone, then
		}))
	}
	serve("get-openapi-json", "/openapi.json", "application/openapi+json", "This document",
		func(d documents) []byte { return d.json })
	serve("get-openapi-yaml", "/openapi.yaml", "application/openapi+yaml", "This document as YAML",
		func(d documents) []byte { return d.yaml })
	serve("get-docs", "/docs", pageType, "This document as a page", func(d documents) []byte { return d.page })
}
