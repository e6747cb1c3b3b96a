package supabase

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// TestProtocolExamples reads the examples of docs/fleet-protocol.md: the token is the one that is signed, all JSON is of the types that it
// is said to be, and each error is understood.
func TestProtocolExamples(t *testing.T) {
	data, err := os.ReadFile("../../docs/fleet-protocol.md")
	require.NoError(t, err)
	text := string(data)

	token := regexp.MustCompile(`Bearer (ey[\w.-]+)`).FindStringSubmatch(text)[1]
	var key seed
	require.NoError(t, key.UnmarshalText([]byte(regexp.MustCompile("`([\\w-]{43})`, which nobody may use").FindStringSubmatch(text)[1])))
	private := ed25519.NewKeyFromSeed(key)
	require.Contains(t, text, (&credential{Seed: key}).public())
	var payload claims
	parsed, err := jwt.ParseWithClaims(token, &payload, func(*jwt.Token) (any, error) { return private.Public(), nil },
		jwt.WithoutClaimsValidation())
	require.NoError(t, err)
	again := jwt.NewWithClaims(jwt.SigningMethodEdDSA, payload)
	again.Header["kid"] = parsed.Header["kid"]
	signed, err := again.SignedString(private)
	require.NoError(t, err)
	require.Equal(t, token, signed)

	const blocks = 22
	seen := 0
	for _, block := range regexp.MustCompile("(?s)\n```\n(.*?)\n```").FindAllStringSubmatch(text, -1) {
		head, body, ok := strings.Cut("\n"+block[1], "\n{")
		require.True(t, ok, block[1])
		seen++
		protocolExample(t, text, head, "{"+body)
	}
	require.Equal(t, blocks, seen)
}

func protocolExample(t *testing.T, text, head, body string) {
	t.Helper()
	has := func(names ...string) bool {
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(body), &members), body)
		for _, name := range names {
			if _, ok := members[name]; !ok {
				return false
			}
		}
		return true
	}
	strictly := func(into any) {
		d := json.NewDecoder(strings.NewReader(body))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(into), body)
	}
	switch {
	case strings.Contains(head, "HTTP/1.1 ") && has("type"):
		var problem struct {
			Type, Title, Detail string
			Status              int
		}
		strictly(&problem)
		r := &reply{status: problem.Status, header: map[string][]string{"Content-Type": {"application/problem+json"}}, body: []byte(body)}
		require.Contains(t, text, "| `"+problem.Type+"` | ")
		failure := r.refusal(time.Unix(1_790_000_000, 0))
		require.ErrorContains(t, failure, kindError(strings.TrimPrefix(problem.Type, problemPrefix)).Error()+": "+problem.Detail)
		require.NotErrorIs(t, failure, ErrAnswer)
	case has("token", "credential", "registration"):
		var q struct {
			Token        string
			Credential   publicCredential
			Registration registry.Registration
		}
		strictly(&q)
		require.NoError(t, q.Registration.Validate())
		require.Len(t, q.Token, 43)
	case has("registered"):
		var e enrolled
		strictly(&e)
		require.NoError(t, e.check(&Config{}))
		_, err := parseKeys(e.ControlKeys)
		require.NoError(t, err)
	case has("incarnation", "usage_sequence"):
		var r registered
		strictly(&r)
		require.NoError(t, checkRegistered(&r.Registered, ""))
	case has("sequence", "incarnation"):
		var h registry.Heartbeat
		strictly(&h)
		require.NoError(t, h.Validate())
	case has("now"):
		var a heartbeatAnswer
		strictly(&a)
		require.NoError(t, a.check(3))
	case has("usages"):
		var r registry.UsageReport
		strictly(&r)
		require.NoError(t, r.Validate())
	case has("sequence"):
		strictly(&registry.UsageReceipt{})
	case has("server"):
		strictly(&struct {
			Server   registry.ID
			Draining bool
		}{})
	case strings.Contains(head, "rotate"):
		strictly(&struct{ Credential publicCredential }{})
	default:
		strictly(&rotated{})
	}
}
