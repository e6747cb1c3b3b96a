package supabase

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	edwards = `{"kty":"OKP","crv":"Ed25519","x":"-9mIHAgIS5xuXcWO2Jei81sr5o0Hu1UatpBGVhbEZjw","kid":"a"}`
	// The example of RFC 7517, appendix A.1.
	weierstrass = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",` +
		`"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}`
)

func TestParseKeys(t *testing.T) {
	signing := strings.Replace(weierstrass, `"use":"enc"`, `"use":"sig","alg":"ES256"`, 1)
	text, err := parseKeys([]byte(`{"keys":[` + edwards + `,` + weierstrass + `,` + signing + `,{"kty":"RSA","n":"AQAB","kid":"r"}]}`))
	require.NoError(t, err)
	var set struct{ Keys []publicKey }
	require.NoError(t, json.Unmarshal(text, &set))
	require.Len(t, set.Keys, 2, "what signs nothing, and what nobody can check, is left out")
	again, err := parseKeys(text)
	require.NoError(t, err)
	require.Equal(t, string(text), string(again))
	text, err = parseKeys([]byte(`{"keys":[]}`))
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[]}`, string(text))

	for _, bad := range []string{
		``, `null`, `[]`, `{}`, `{"keys":null}`, `{"keys":[1]}`,
		`{"keys":[` + strings.Replace(edwards, `"kid"`, `"d":"-9mI","kid"`, 1) + `]}`,
		`{"keys":[{"kty":"oct","k":"AAAA","kid":"s"}]}`, `{"keys":[{"kty":"oct","kid":"s"}]}`,
		`{"keys":[` + strings.Replace(edwards, `"a"`, `""`, 1) + `]}`, `{"keys":[` + strings.Replace(edwards, `"a"`, `"a b"`, 1) + `]}`,
		`{"keys":[` + strings.Replace(edwards, `-9mI`, ``, 1) + `]}`, `{"keys":[` + edwards + `,` + edwards + `]}`,
		`{"keys":[` + edwards + `,` + strings.Replace(edwards, `"a"`, `"b"`, 1) + `]}`,
		`{"keys":[` + strings.Replace(edwards, `"kid"`, `"alg":"HS256","kid"`, 1) + `]}`,
		`{"keys":[` + strings.Replace(edwards, `"kid"`, `"y":"AAAA","kid"`, 1) + `]}`,
		`{"keys":[` + strings.Replace(signing, `4Etl`, `5Etl`, 1) + `]}`, `{"keys":[` + strings.Replace(signing, `4Etl`, ``, 1) + `]}`,
		`{"keys":[` + strings.Replace(signing, `ES256`, `EdDSA`, 1) + `]}`,
		`{"keys":[` + strings.Repeat(edwards+`,`, 64) + edwards + `]}`,
	} {
		_, err := parseKeys([]byte(bad))
		require.ErrorIs(t, err, ErrKeys, bad)
	}
}

// Control keys are in the file and told of when they change, at a registration or a heartbeat, and not when they do not.
func TestControlKeys(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	cfg.ControlKeysFile = filepath.Join(t.TempDir(), "control.jwks")
	var told []string
	refuse := false
	cfg.OnControlKeys = func(_ context.Context, jwks []byte) error {
		require.Equal(t, string(jwks), readText(t, cfg.ControlKeysFile), "the file has them first")
		if refuse {
			return errors.New("not now")
		}
		told = append(told, string(jwks))
		return nil
	}
	var log logs
	cfg.Logger = log.logger()
	n := s.node(cfg)
	require.Len(t, told, 1, "at the enrollment; the registration had the same")
	require.NoError(t, n.beat(t.Context()))
	require.Len(t, told, 1)

	s.fleet.SetControlKeys(json.RawMessage(`{"keys":[` + edwards + `]}`))
	require.NoError(t, n.beat(t.Context()))
	require.Len(t, told, 2)
	require.Contains(t, readText(t, cfg.ControlKeysFile), `"kid": "a"`)

	// What cannot be used changes nothing, and is no reason to fail.
	before := readText(t, cfg.ControlKeysFile)
	for _, bad := range []string{`{"keys":[{"kty":"oct","k":"AAAA","kid":"s"}]}`, `7`} {
		s.fleet.SetControlKeys(json.RawMessage(bad))
		require.NoError(t, n.beat(t.Context()))
	}
	require.Contains(t, log.String(), "control keys not taken over")
	require.NotContains(t, log.String(), "AAAA")
	s.fleet.SetControlKeys(json.RawMessage(`null`))
	require.NoError(t, n.beat(t.Context()))
	require.Len(t, told, 2)
	require.Equal(t, before, readText(t, cfg.ControlKeysFile))

	// Whoever was not ready for them is told again; who starts anew has the file.
	s.fleet.SetControlKeys(json.RawMessage(`{"keys":[]}`))
	refuse = true
	require.NoError(t, n.beat(t.Context()))
	refuse = false
	require.NoError(t, n.beat(t.Context()))
	require.Len(t, told, 3)
	require.JSONEq(t, `{"keys":[]}`, told[2])
	_, err := s.open(cfg).Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)
	require.Len(t, told, 3)

	require.NoError(t, os.WriteFile(cfg.ControlKeysFile, nil, 0o600))
	_, err = s.open(cfg).Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)
	require.Len(t, told, 4)
	cfg.ControlKeysFile = t.TempDir()
	_, err = Open(cfg)
	require.ErrorContains(t, err, cfg.ControlKeysFile)
}
