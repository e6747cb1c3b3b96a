package httpapi

import (
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// Schemas of types whose JSON has a form of its own. What is among the extensions is for the document: huma does not check it, as
// decoding does, and says better what would be right.
type (
	rateSchema     struct{}
	bytesSchema    struct{}
	durationSchema struct{}
	keySchema      struct{}
	newKeySchema   struct{}
)

// newRegistry returns a registry that knows them.
func newRegistry() huma.Registry {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	for _, alias := range [][2]reflect.Type{
		{reflect.TypeFor[api.Rate](), reflect.TypeFor[rateSchema]()},
		{reflect.TypeFor[api.Bytes](), reflect.TypeFor[bytesSchema]()},
		{reflect.TypeFor[api.Duration](), reflect.TypeFor[durationSchema]()},
		{reflect.TypeFor[api.Key](), reflect.TypeFor[keySchema]()},
		{reflect.TypeFor[api.Field[api.Key]](), reflect.TypeFor[newKeySchema]()},
	} {
		registry.RegisterTypeAlias(alias[0], alias[1])
	}
	return registry
}

func (rateSchema) Schema(huma.Registry) *huma.Schema {
	return amountSchema(float64(shaping.MaxRate), "Bit/s, or a text with a unit: 20mbit.", 20_000_000, "20mbit")
}

func (bytesSchema) Schema(huma.Registry) *huma.Schema {
	return amountSchema(float64(1<<64-1), "Bytes, or a text with a unit: 5GiB.", 5*uint64(quota.GiB), "5GiB")
}

func amountSchema(most float64, description string, examples ...any) *huma.Schema {
	return &huma.Schema{Description: description, Examples: examples, Extensions: map[string]any{"anyOf": []any{
		map[string]any{"type": "integer", "minimum": 0, "maximum": most},
		map[string]any{"type": "string", "minLength": 1, "maxLength": 32},
	}}}
}

func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Description: "Hours, minutes and seconds: 72h, 1h30m.", Examples: []any{"72h"},
		Extensions: map[string]any{"pattern": `^-?([0-9]+(\.[0-9]*)?(h|m|s|ms|us|µs|ns))+$|^0$`},
	}
}

func (keySchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Description: "A WireGuard key in base64, of the standard alphabet or the one for URLs.",
		Extensions: map[string]any{"pattern": `^[A-Za-z0-9+/_-]{43}=?$`},
	}
}

func (newKeySchema) Schema(registry huma.Registry) *huma.Schema {
	s := keySchema{}.Schema(registry)
	s.Nullable = true
	return s
}

// patchSchema is the schema of a merge patch of settings of a type: each member may be left out or null.
func patchSchema(registry huma.Registry, settings reflect.Type) *huma.Schema {
	return optional(registry, registry.Schema(settings, false, ""))
}

func optional(registry huma.Registry, s *huma.Schema) *huma.Schema {
	for s.Ref != "" {
		s = registry.SchemaFromRef(s.Ref)
	}
	free := *s
	free.Required = nil
	free.Properties = make(map[string]*huma.Schema, len(s.Properties))
	for name, member := range s.Properties {
		m := optional(registry, member)
		m.Description = member.Description
		nullable(m)
		free.Properties[name] = m
	}
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
		v := *values
		nullable(&v)
		free.AdditionalProperties = &v
	}
	free.PrecomputeMessages()
	return &free
}

// nullable lets a value be null.
func nullable(s *huma.Schema) {
	if s.Type != "" {
		s.Nullable = true
		if len(s.Enum) > 0 {
			s.Enum = append(slices.Clip(s.Enum), nil)
		}
		return
	}
	forms := s.Extensions["anyOf"].([]any)
	s.Extensions = map[string]any{"anyOf": append(slices.Clip(forms), map[string]any{"type": "null"})}
}
