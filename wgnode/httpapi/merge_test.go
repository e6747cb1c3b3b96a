package httpapi_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
)

// The cases of RFC 7396, appendix A.
func TestMerge(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var target, patch any
		require.NoError(t, json.Unmarshal([]byte(c[0]), &target))
		require.NoError(t, json.Unmarshal([]byte(c[1]), &patch))
		result, err := json.Marshal(httpapi.Merge(target, patch))
		require.NoError(t, err)
		require.JSONEq(t, c[2], string(result), "%s and %s", c[0], c[1])
	}
}

func TestSnakeCase(t *testing.T) {
	for name, want := range map[string]string{"publicKey": "public_key", "data_cap": "data_cap", "name": "name", "": "", "Ä": "_ä"} {
		require.Equal(t, want, httpapi.SnakeCase(name))
	}
}

// A cursor that is taken is one that the node gives.
func FuzzCursor(f *testing.F) {
	f.Add(httpapi.Cursor(0))
	f.Add(httpapi.Cursor(1<<64 - 1))
	f.Add("eyJuIjoiYSIsInMiOjF9")
	f.Add("YWZ0ZXIgN\rA") // which a decoder of base64 would take
	f.Fuzz(func(t *testing.T, text string) {
		if sequence, err := httpapi.After(param.Page{Cursor: text}); err == nil && text != "" {
			require.Equal(t, text, httpapi.Cursor(sequence))
		}
		if place, err := httpapi.UsageAfter(text); err == nil && text != "" {
			require.Equal(t, text, place.Cursor())
		}
	})
}
