package idempotency

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzKey(f *testing.F) {
	for _, seed := range []string{"8e03978e-40d5-43dd-bc93-6894a57f9324", `"a"`, `"a\"b\\"`, `"`, `""`, `"a"b`,
		"a b", "\x7f", strings.Repeat("k", 256)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, given, err := parseKey([]string{value})
		require.True(t, given)
		if err != nil {
			require.Empty(t, key)
			return
		}
		require.True(t, len(key) >= 1 && len(key) <= MaxKeyLen)
		require.Empty(t, strings.Trim(key,
			"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"))
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		same, _, err := parseKey([]string{quoted})
		require.NoError(t, err)
		require.Equal(t, key, same)
	})
}

func TestKeyHeader(t *testing.T) {
	_, given, err := parseKey(nil)
	require.False(t, given)
	require.NoError(t, err)
	_, given, err = parseKey([]string{"a", "a"})
	require.True(t, given)
	require.ErrorContains(t, err, "it is given more than once")
}

// FuzzAnswer opens what no store was given: it is refused unless it is what was sealed.
func FuzzAnswer(f *testing.F) {
	e := Entry{ID: ID{1}, Salt: [32]byte{2}, Print: [32]byte{3}}
	m, err := scope("scope").material(Secret{4}, e.Salt)
	require.NoError(f, err)
	want := answer{Status: 201, Header: http.Header{"Etag": {`"1"`}}, Body: []byte("body")}
	sealed, err := m.seal(want, e)
	require.NoError(f, err)
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := m.open(b, e)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			return
		}
		require.Equal(t, want, got)
	})
}

// An answer opens with its own store, key and entry alone.
func TestSealed(t *testing.T) {
	e := Entry{ID: ID{1}, Salt: [32]byte{2}, Print: [32]byte{3}}
	own, err := scope("scope").material(Secret{4}, e.Salt)
	require.NoError(t, err)
	sealed, err := own.seal(answer{Status: 200}, e)
	require.NoError(t, err)
	_, err = own.open(sealed, e)
	require.NoError(t, err)
	for what, m := range map[string]func() (material, Entry, error){
		"another store": func() (material, Entry, error) {
			m, err := scope("scope").material(Secret{5}, e.Salt)
			return m, e, err
		},
		"another key": func() (material, Entry, error) {
			m, err := scope("scopf").material(Secret{4}, e.Salt)
			return m, e, err
		},
		"another salt": func() (material, Entry, error) {
			m, err := scope("scope").material(Secret{4}, [32]byte{9})
			return m, e, err
		},
		"another entry": func() (material, Entry, error) { return own, Entry{ID: ID{7}, Print: e.Print}, nil },
		"another print": func() (material, Entry, error) { return own, Entry{ID: e.ID, Print: [32]byte{7}}, nil },
	} {
		material, entry, err := m()
		require.NoError(t, err)
		_, err = material.open(sealed, entry)
		require.ErrorIs(t, err, ErrDamaged, what)
	}
	require.NotEqual(t, joined("ab", "c"), joined("a", "bc"))
}
