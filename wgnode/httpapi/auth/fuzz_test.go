package auth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

func encode(parts ...string) string {
	for i, p := range parts {
		parts[i] = base64.RawURLEncoding.EncodeToString([]byte(p))
	}
	return strings.Join(parts, ".")
}

const goodClaims = `{"sub":"s","aud":"a","iat":1,"exp":2,"jti":"0123456789abcdef","htm":"GET",` +
	`"path":"/","query":"","digest":"d","scope":"peers:read"}`

func TestParseToken(t *testing.T) {
	header := `{"alg":"HS256","kid":"k"}`
	u, err := parseToken(encode(header, goodClaims, "signature"))
	require.NoError(t, err)
	require.Equal(t, "k", u.kid)
	require.Equal(t, "HS256", u.alg)
	require.Equal(t, []byte("signature"), u.signature)
	require.Equal(t, sign.Payload{
		Subject: "s", Audience: "a", IssuedAt: 1, Expires: 2, ID: "0123456789abcdef", Method: "GET", Path: "/", Digest: "d",
		Scope: "peers:read",
	}, u.payload.Payload)

	good := encode(header, goodClaims, "signature")
	with := func(replaced, by string) string {
		return encode(header, strings.Replace(goodClaims, replaced, by, 1), "s")
	}
	deep := strings.Repeat("[", 2500)
	for name, raw := range map[string]string{
		"empty":               "",
		"two parts":           good[:strings.LastIndexByte(good, '.')],
		"four parts":          good + ".x",
		"padding":             good + "=",
		"no base64url":        strings.Replace(good, ".", ".+", 1),
		"a line break":        strings.Replace(good, ".", ".\n", 1),
		"bits beyond the end": encode(header, goodClaims) + ".ab",
		"long":                encode(header, goodClaims, strings.Repeat("s", maxToken)),
		"deep header":         encode(`{"alg":"HS256","kid":"k","x":`+deep, goodClaims, "s"),
		"deep claims":         encode(header, deep, "s"),
		"a deep claim":        with(`"s"`, deep),
		"header is a list":    encode(`[]`, goodClaims, "s"),
		"header is null":      encode(`null`, goodClaims, "s"),
		"header has more":     encode(header+"x", goodClaims, "s"),
		"claims are null":     encode(header, `null`, "s"),
		"claims are a list":   encode(header, `[]`, "s"),
		"claims have more":    encode(header, goodClaims+`{}`, "s"),
		"a claim twice":       with(`"sub":"s"`, `"sub":"s","sub":"t"`),
		"another claim":       with(`"sub":"s"`, `"sub":"s","nbf":1`),
		"a claim in capitals": with(`"sub"`, `"SUB"`),
		"a claim is missing":  with(`"query":"",`, ``),
		"aud is a list":       with(`"aud":"a"`, `"aud":["a"]`),
		"sub is null":         with(`"s"`, `null`),
		"iat is a fraction":   with(`"iat":1`, `"iat":1.5`),
		"iat is an exponent":  with(`"iat":1`, `"iat":1e0`),
		"iat is a string":     with(`"iat":1`, `"iat":"1"`),
		"exp is huge":         with(`"exp":2`, `"exp":99999999999999999999`),
		"alg is a number":     encode(`{"alg":1,"kid":"k"}`, goodClaims, "s"),
		"kid is long":         encode(`{"alg":"HS256","kid":"`+strings.Repeat("k", 129)+`"}`, goodClaims, "s"),
		"typ is null":         encode(`{"alg":"HS256","kid":"k","typ":null}`, goodClaims, "s"),
	} {
		_, err := parseToken(raw)
		require.Error(t, err, name)
		require.Less(t, len(err.Error()), 300, name)
	}
}

// Whatever comes, a token is read or is not, and one that is has all that a token must have.
func FuzzToken(f *testing.F) {
	f.Add(`{"alg":"HS256","kid":"k"}`, goodClaims, "s")
	f.Add(`{"alg":"none","kid":"k","typ":"JWT"}`, goodClaims, "")
	f.Add(`{}`, `{"sub":"s","sub":"s"}`, "\x00")
	f.Add(`[[[[[[`, `{"iat":-1}`, "..")
	f.Fuzz(func(t *testing.T, header, claims, signature string) {
		for _, raw := range []string{encode(header, claims, signature), header + "." + claims + "." + signature, header} {
			u, err := parseToken(raw)
			if err != nil {
				continue
			}
			if u.kid == "" || u.alg == "" || u.payload.IssuedAt < 0 || u.payload.Expires > maxSeconds || !strings.HasPrefix(raw,
				u.text+".") {
				t.Fatalf("%q: %+v", raw, u)
			}
			again, err := json.Marshal(u.payload.Payload)
			if err != nil {
				t.Fatal(err)
			}
			var p payload
			if err := json.Unmarshal(again, &p); err != nil || p.Payload != u.payload.Payload {
				t.Fatal(fmt.Sprintf("%q: %+v", again, p.Payload), err)
			}
		}
	})
}
