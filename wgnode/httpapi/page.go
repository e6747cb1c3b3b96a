package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const pageType = "text/html; charset=utf-8"

// pageStyle is the page's only style sheet, which pagePolicy names by its digest.
const pageStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}` +
	`code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;background:#f4f4f4;padding:.75rem}` +
	`summary{cursor:pointer;padding:.3rem 0}summary code{font-weight:600}.gone{text-decoration:line-through}` +
	`table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.25rem .5rem;text-align:left;vertical-align:top}` +
	`@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#262626}a{color:#8ab4f8}td,th{border-color:#555}}`

// pagePolicy lets the page load nothing and run nothing.
func pagePolicy() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} {{.Version}}</title><style>{{.Style}}</style></head><body>
<h1>{{.Title}} {{.Version}}</h1>
<p>{{.Description}}</p>
<p><a href="openapi.json">openapi.json</a> <a href="openapi.yaml">openapi.yaml</a></p>
{{range .Groups}}<h2>{{.Name}}</h2>
{{range .Operations}}<details id="{{.ID}}"><summary><code{{if .Deprecated}} class="gone"{{end}}>{{.Method}} {{.Path}}</code> {{.Summary}}</summary>
{{with .Description}}<p>{{.}}</p>{{end}}
<p>Needs: {{.Needs}}.</p>
{{with .Parameters}}<table><tr><th>Parameter</th><th>In</th><th></th></tr>
{{range .}}<tr><td><code>{{.Name}}</code></td><td>{{.In}}</td><td>{{if .Required}}Required. {{end}}{{.Description}}</td></tr>
{{end}}</table>{{end}}
{{range .Bodies}}<h4>{{.Name}}</h4><pre>{{.Text}}</pre>
{{end}}</details>
{{end}}{{end}}<h2>schemas</h2>
{{range .Schemas}}<details id="schema-{{.Name}}"><summary><code>{{.Name}}</code></summary><pre>{{.Text}}</pre></details>
{{end}}</body></html>
`

type (
	pageGroup struct {
		Name       string
		Operations []pageOperation
	}
	pageOperation struct {
		ID, Method, Path, Summary, Description, Needs string
		Deprecated                                    bool
		Parameters                                    []*huma.Param
		Bodies                                        []pageJSON
	}
	pageJSON struct{ Name, Text string }
)

// renderPage writes the document as a page of details that open and close without a script.
func renderPage(document *huma.OpenAPI) ([]byte, error) {
	groups := map[string][]pageOperation{}
	var err error
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		item := document.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Head, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			name := "other"
			if len(op.Tags) > 0 {
				name = op.Tags[0]
			}
			groups[name] = append(groups[name], pageOperation{
				ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description, Needs: needs(op),
				Deprecated: op.Deprecated, Parameters: op.Parameters, Bodies: bodies(op, &err),
			})
		}
	}
	var schemas []pageJSON
	all := document.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		schemas = append(schemas, pageJSON{name, indented(all[name], &err)})
	}
	if err != nil {
		return nil, fmt.Errorf("write the page of the document: %w", err)
	}
	var ordered []pageGroup
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		ordered = append(ordered, pageGroup{name, groups[name]})
	}
	page, err := template.New("docs").Parse(pageText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, map[string]any{
		"Title": document.Info.Title, "Version": document.Info.Version, "Description": document.Info.Description,
		"Style": template.CSS(pageStyle), "Groups": ordered, "Schemas": schemas, //nolint:gosec // a constant
	})
	return b.Bytes(), err
}

func needs(op *huma.Operation) string {
	who := op.Metadata[accessKey].(access)
	switch {
	case who.public:
		return "nothing"
	case who.scope == "":
		return "to be recognised"
	}
	return "the scope " + string(who.scope)
}

// bodies are the schemas of the request and of the answers, by status.
func bodies(op *huma.Operation, err *error) []pageJSON {
	var found []pageJSON
	if op.RequestBody != nil {
		for _, contentType := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
			found = append(found, pageJSON{"Request: " + contentType, indented(op.RequestBody.Content[contentType], err)})
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		response := op.Responses[status]
		if status >= "4" || strings.HasPrefix(status, "d") { // problems are all alike
			continue
		}
		for _, contentType := range slices.Sorted(maps.Keys(response.Content)) {
			found = append(found, pageJSON{"Answer " + status + ": " + contentType, indented(response.Content[contentType], err)})
		}
	}
	return found
}

func indented(v any, err *error) string {
	text, failed := json.MarshalIndent(v, "", "  ")
	if failed != nil {
		*err = failed
	}
	return string(text)
}
