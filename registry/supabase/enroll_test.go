package supabase

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/supabase/supabasetest"
)

func TestEnroll(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	cfg.ControlKeysFile = filepath.Join(filepath.Dir(cfg.CredentialFile), "control.jwks")
	var log logs
	cfg.Logger = log.logger()
	_, err := Open(cfg)
	require.ErrorIs(t, err, ErrNotEnrolled)
	require.ErrorIs(t, err, fs.ErrNotExist)

	token := s.fleet.NewToken(supabasetest.Token{Name: "fra-1", Pool: "gold", Region: "eu"})
	registered, err := Enroll(t.Context(), EnrollConfig{Config: cfg, Token: token, Registration: registration("fra-1")})
	require.NoError(t, err)
	servers, err := s.mem.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	require.Len(t, servers, 1)
	require.Equal(t, servers[0].ID, registered.Server)
	require.Equal(t, "gold", servers[0].Pool)

	info, err := os.Stat(cfg.CredentialFile)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	require.Contains(t, readText(t, cfg.ControlKeysFile), `"kid": "control-plane-1"`)
	entries, err := os.ReadDir(filepath.Dir(cfg.CredentialFile))
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing half-made is left")

	cfg.URLs = nil
	c := s.open(cfg)
	has := c.Info()
	require.Equal(t, registered.Server, has.Server)
	require.Equal(t, "fra-1", has.Name)
	require.Equal(t, "waylume-fleet", has.Audience)
	require.Equal(t, []string{s.url()}, has.URLs, "those that it was enrolled with, for the answer had none")
	require.Equal(t, []string{has.Credential}, s.fleet.Credentials())
	require.WithinDuration(t, s.clock.Now(), has.Created, time.Minute)
	require.False(t, has.Rotating)
	_, err = c.Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)

	text := readText(t, cfg.CredentialFile)
	sum := sha256.Sum256([]byte(token))
	for _, where := range []string{text, log.String()} {
		require.NotContains(t, where, token)
		require.NotContains(t, where, hex.EncodeToString(sum[:]))
	}
	seedText, err := c.keep.document().Current.Seed.MarshalText()
	require.NoError(t, err)
	require.Contains(t, text, string(seedText))
	require.NotContains(t, log.String(), string(seedText))

	cfg.URLs = []string{s.url()}
	_, err = Enroll(t.Context(), EnrollConfig{
		Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1"),
	})
	require.ErrorIs(t, err, ErrEnrolled)
	require.ErrorContains(t, err, "move that file away")
	require.Equal(t, text, readText(t, cfg.CredentialFile))
}

// An answer that is lost is given again, to the same key; also to another process, and at another URL.
func TestEnrollAnswerLost(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	enrollment := EnrollConfig{Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1")}
	s.fails(lose)
	_, err := Enroll(t.Context(), enrollment)
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.NotContains(t, err.Error(), enrollment.Token)
	require.NotContains(t, readText(t, cfg.CredentialFile), enrollment.Token)
	_, err = Open(cfg)
	require.ErrorIs(t, err, ErrNotEnrolled)
	require.ErrorContains(t, err, "with the same token")
	require.Len(t, s.fleet.Credentials(), 1)

	second := s.newFront()
	enrollment.URLs = []string{s.url(), second.url()}
	registered, err := Enroll(t.Context(), enrollment)
	require.NoError(t, err)
	require.EqualValues(t, 1, registered.Incarnation)
	require.Len(t, s.fleet.Credentials(), 1)
	s.fails(nil)
	_, err = s.open(cfg).Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)
}

// An answer that cannot be kept is asked for again.
func TestEnrollNotWritten(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	enrollment := EnrollConfig{Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1")}
	away := filepath.Dir(cfg.CredentialFile) + "-away"
	s.fails(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := os.Rename(filepath.Dir(cfg.CredentialFile), away); err != nil {
			panic(err)
		}
		next.ServeHTTP(w, r)
	})
	_, err := Enroll(t.Context(), enrollment)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "enroll again, with the same token")
	s.fails(nil)
	require.NoError(t, os.Rename(away, filepath.Dir(cfg.CredentialFile)))
	_, err = Enroll(t.Context(), enrollment)
	require.NoError(t, err)
	require.Equal(t, []string{s.open(cfg).Info().Credential}, s.fleet.Credentials())
}

func TestEnrollRefused(t *testing.T) {
	s := newSite(t)
	other := s.config()
	s.enroll(other, supabasetest.Token{})
	used := s.fleet.NewToken(supabasetest.Token{})
	_, err := Enroll(t.Context(), EnrollConfig{Config: s.config(), Token: used, Registration: registration("fra-2")})
	require.NoError(t, err)
	revoked := s.fleet.NewToken(supabasetest.Token{})
	s.fleet.RevokeToken(revoked)
	expired := s.fleet.NewToken(supabasetest.Token{Lifetime: time.Minute})
	for name, c := range map[string]struct {
		token, node string
		edit        func(*registry.Registration)
		want        error
		text        string
	}{
		"unknown": {token: strings.Repeat("A", 43), want: registry.ErrDenied, text: "not known"},
		"used":    {token: used, want: registry.ErrDenied, text: "used before"},
		"revoked": {token: revoked, want: registry.ErrDenied, text: "revoked"},
		"for another name": {
			token: s.fleet.NewToken(supabasetest.Token{Name: "ams-1"}), want: registry.ErrDenied, text: `for the name "ams-1"`,
		},
		"for another pool": {
			token: s.fleet.NewToken(supabasetest.Token{Pool: "gold"}), want: registry.ErrDenied, text: `for the pool "gold"`,
			edit: func(r *registry.Registration) { r.Pool = "silver" },
		},
		"a name of another's": {token: s.fleet.NewToken(supabasetest.Token{}), node: "fra-1", want: registry.ErrNameTaken,
			edit: func(r *registry.Registration) { r.PublicKey[0]++ }},
		"invalid": {token: s.fleet.NewToken(supabasetest.Token{}), node: "/", want: registry.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := s.config()
			name := c.node
			if name == "" {
				name = "fra-9"
			}
			r := registration(name)
			if c.edit != nil {
				c.edit(&r)
			}
			_, err := Enroll(t.Context(), EnrollConfig{Config: cfg, Token: c.token, Registration: r})
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.NotContains(t, err.Error(), c.token)
			_, err = Open(cfg)
			require.ErrorIs(t, err, ErrNotEnrolled)

			// Another token is another try, with another key.
			before := readText(t, cfg.CredentialFile)
			_, err = Enroll(t.Context(), EnrollConfig{
				Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("new-" + strings.Trim(name, "/")),
			})
			require.NoError(t, err)
			require.NotContains(t, readText(t, cfg.CredentialFile), strings.Split(before, `"private_key": "`)[1][:43])
		})
	}
	s.clock.Advance(61 * time.Second)
	_, err = Enroll(t.Context(), EnrollConfig{Config: s.config(), Token: expired, Registration: registration("fra-3")})
	require.ErrorIs(t, err, registry.ErrDenied)
	require.ErrorContains(t, err, "expired")

	for text, edit := range map[string]func(*EnrollConfig){
		"Token is no enrollment token": func(c *EnrollConfig) { c.Token = "short" },
		"URLs is empty":                func(c *EnrollConfig) { c.URLs = nil },
		"CredentialFile is empty":      func(c *EnrollConfig) { c.CredentialFile = "" },
	} {
		enrollment := EnrollConfig{Config: s.config(), Token: used, Registration: registration("fra-4")}
		edit(&enrollment)
		_, err := Enroll(t.Context(), enrollment)
		require.ErrorContains(t, err, text)
		require.NoFileExists(t, enrollment.CredentialFile)
	}
}

// A node that is enrolled again keeps its server, and its former credential counts no more.
func TestEnrollAgain(t *testing.T) {
	s := newSite(t)
	cfg := s.config()
	first := s.node(cfg)
	again := s.config()
	registered := s.enroll(again, supabasetest.Token{})
	require.Equal(t, first.Server, registered.Server)
	require.ErrorIs(t, first.beat(t.Context()), registry.ErrDenied)
	_, err := s.open(again).Register(t.Context(), registration("fra-1"))
	require.NoError(t, err)
}

// An answer that makes no sense leaves the key pending, and is asked for elsewhere.
func TestEnrollAnswers(t *testing.T) {
	const server = "5f1d7a1c-3b0e-4d35-9a57-0c1d3f2b8e64"
	registered := `"registered":{"server":"` + server + `","incarnation":1,"usage_sequence":0}`
	for name, body := range map[string]string{
		"no server":        `{"registered":{"incarnation":1},"credential":"c","audience":"a"}`,
		"no incarnation":   `{"registered":{"server":"` + server + `"},"credential":"c","audience":"a"}`,
		"no credential":    `{` + registered + `,"audience":"a"}`,
		"a bad credential": `{` + registered + `,"credential":"c d","audience":"a"}`,
		"no audience":      `{` + registered + `,"credential":"c"}`,
		"a plain URL":      `{` + registered + `,"credential":"c","audience":"a","urls":["http://fleet.example.com"]}`,
		"too many URLs":    `{` + registered + `,"credential":"c","audience":"a","urls":["` + strings.Repeat(`https://a","`, 16) + `https://b"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			cfg := s.config()
			s.fails(answers(http.StatusOK, "application/json", body))
			_, err := Enroll(t.Context(), EnrollConfig{
				Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1"),
			})
			require.ErrorIs(t, err, ErrAnswer)
			_, err = Open(cfg)
			require.ErrorIs(t, err, ErrNotEnrolled)
		})
	}
	s := newSite(t)
	cfg := s.config()
	cfg.Audience = "another-fleet"
	_, err := Enroll(t.Context(), EnrollConfig{
		Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1"),
	})
	require.ErrorIs(t, err, ErrOtherFleet)
	failed, ok := errors.AsType[*Error](err)
	require.False(t, ok, "%v", failed)
}
