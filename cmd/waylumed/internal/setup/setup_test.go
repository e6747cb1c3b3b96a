package setup

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// certificate writes cert.pem and key.pem.
func certificate(t *testing.T, dir string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}

// options are for a file in a directory that is not there yet. Certificates are in the working directory.
func options(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	certificate(t, dir)
	return Options{
		File: filepath.Join(dir, "etc", "waylumed.yaml"), Dir: dir, Out: io.Discard, Now: now(),
		Environ: []string{"XDG_STATE_HOME=" + dir, "HOME=" + dir},
	}
}

// check loads what was written, as config check would, and looks at modes and at what lies about.
func check(t *testing.T, r Result, names ...string) *config.Loaded {
	t.Helper()
	loaded, err := config.Load(config.Options{File: r.File, Now: now()})
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Dir(r.File))
	require.NoError(t, err)
	got := make([]string, 0, len(entries))
	for _, e := range entries {
		got = append(got, e.Name())
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode(), e.Name())
	}
	require.Equal(t, names, got)
	return loaded
}

// Whatever is answered by flags, what is written is valid, for each profile.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answers Answers
		says    string // what is refused
		want    func(*config.Config)
	}{
		"nothing": {want: func(c *config.Config) {
			require.Equal(t, config.Standard, c.Profile)
			require.Empty(t, c.API.Auth.Keys)
			require.True(t, strings.HasSuffix(c.API.Listen[0].Address, "/api.sock"))
		}},
		"everything": {
			answers: Answers{
				Local, "vpn.example.com:443", "443", "userspace", "127.0.0.1:8443,unix:a.sock", "cert.pem", "key.pem", No, Yes, "k1",
			},
			want: func(c *config.Config) {
				require.Equal(t, "vpn.example.com:443", c.Node.Endpoint)
				require.Equal(t, uint16(443), c.Node.ListenPort)
				require.Equal(t, config.UserspaceDataplane, c.Node.Dataplane)
				require.Equal(t, "127.0.0.1:8443", c.API.Listen[0].Address)
				require.Regexp(t, `^/.*/a.sock$`, c.API.Listen[1].Address)
				require.Regexp(t, `^/.*/cert.pem$`, c.API.TLS.CertFile)
				require.Equal(t, "k1", c.API.Auth.Keys[0].KID)
			},
		},
		"production, unix": {answers: Answers{Production: Yes}, want: func(c *config.Config) {
			require.Equal(t, config.Production, c.Profile)
			require.Equal(t, config.Strict, c.Log.Redaction)
			require.Equal(t, "key-20261121", c.API.Auth.Keys[0].KID)
		}},
		"remote": {answers: Answers{Purpose: Remote, CertFile: "cert.pem", KeyFile: "key.pem"}, want: func(c *config.Config) {
			require.Equal(t, config.Production, c.Profile)
			require.Equal(t, filepath.Join(c.Node.State, "api.sock"), c.API.Listen[0].Address, "where commands of this host ask")
			require.Equal(t, ":8443", c.API.Listen[1].Address)
			require.Len(t, c.API.Auth.Keys[0].Value.Reveal(), 43)
		}},
		"remote, not for production": {
			answers: Answers{Purpose: Remote, CertFile: "cert.pem", KeyFile: "key.pem", Production: No},
			want: func(c *config.Config) {
				require.Equal(t, config.Standard, c.Profile)
				require.Len(t, c.API.Auth.Keys, 1)
			},
		},
		"no certificate": {
			answers: Answers{Purpose: Remote}, says: "The file of the certificate for TLS, in PEM?: is needed for TLS: name the file: " +
				"give the answer by a flag",
		},
		"absent certificate": {
			answers: Answers{Purpose: Remote, CertFile: "absent.pem", KeyFile: "key.pem"},
			says:    "absent.pem: is not there: make it, or mend its name",
		},
		"no key": {answers: Answers{Production: Yes, Key: No}, says: "without a key nobody could sign a request"},
		"bad words": {
			answers: Answers{Purpose: "x", ListenPort: "70000", Dataplane: "y", Listen: "z", Key: Yes, KID: "../a"},
			says: `--purpose: "x" is no answer: give local or remote
--listen-port: "70000" is not a number that can be here: give 0 to 65535
--dataplane: "y" is not known: give auto, kernel or userspace
--listen: "z" is no address to listen at: give such as 127.0.0.1:8443, [::1]:8443 or unix:/run/waylume/api.sock
--kid: "../a" is no kid: use letters, digits, '-', '_' and '.'`,
		},
		"bad endpoint": {answers: Answers{Endpoint: "a b"}, says: "node.endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(t)
			opts.Answers = c.answers
			r, err := Run(t.Context(), opts)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				left, err := filepath.Glob(filepath.Join(filepath.Dir(opts.File), "*"))
				require.NoError(t, err)
				require.Empty(t, left, "nothing is left of what was refused")
				return
			}
			require.NoError(t, err)
			names := []string{"waylumed.yaml"}
			if r.KID != "" {
				names = []string{r.KID + ".secret", "waylumed.yaml"}
			}
			c.want(&check(t, r, names...).Config)
		})
	}
}

// A person is asked, and asked again where an answer will not do.
func TestQuestions(t *testing.T) {
	opts := options(t)
	var out strings.Builder
	opts.Ask, opts.Out = true, &out
	opts.In = strings.NewReader("both\nremote\nvpn.example.com\n70000\n443\n\n\nyes\n\ncert.pem\nkey.pem\n../x\nbackend\n")
	r, err := Run(t.Context(), opts)
	require.NoError(t, err)
	loaded := check(t, r, "backend.secret", "waylumed.yaml")
	require.Equal(t, config.Production, loaded.Config.Profile)
	require.Equal(t, uint16(443), loaded.Config.Node.ListenPort)
	require.Contains(t, out.String(), `"both" is no answer: give local or remote`)
	require.Contains(t, out.String(), `"70000" is not a number that can be here`)
	require.Contains(t, out.String(), "is needed for TLS: name the file")
	require.Contains(t, out.String(), "Where does the API listen: at a unix socket (unix), at TCP addresses such as :8443, or at both? "+
		"[unix,:8443]\n> ")
	out.Reset()
	r.Show(&out)
	require.Contains(t, out.String(), "Wrote "+r.KeyFile+", the key backend: whoever has it can sign requests.")
	require.Contains(t, out.String(), "/api.sock, :8443.\nNext:\n  waylumed config check --file "+r.File)
	secret, err := os.ReadFile(r.KeyFile)
	require.NoError(t, err)
	require.NotContains(t, out.String(), strings.TrimSpace(string(secret)))

	opts = options(t)
	opts.Ask, opts.In, opts.Answers.Purpose = true, strings.NewReader("vpn.example.com\n"), Local
	_, err = Run(t.Context(), opts)
	require.EqualError(t, err, "the answers ended before the questions: nothing was written. Give them by flags, with --yes")
	require.NoDirExists(t, filepath.Dir(opts.File))
}

// Who gives up is not asked on, though the terminal says nothing.
func TestGivenUp(t *testing.T) {
	opts := options(t)
	in, end := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	opts.Ask, opts.In = true, in
	done := make(chan error)
	go func() {
		_, err := Run(ctx, opts)
		done <- err
	}()
	_, err := end.Write([]byte("local\n"))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, end.Close())
	require.NoDirExists(t, filepath.Dir(opts.File))
}

// A second init changes nothing unless it is told to, and then keeps the key that clients have.
func TestSecond(t *testing.T) {
	opts := options(t)
	opts.Answers = Answers{Key: Yes, KID: "k"}
	first, err := Run(t.Context(), opts)
	require.NoError(t, err)
	text, err := os.ReadFile(first.File)
	require.NoError(t, err)
	secret, err := os.ReadFile(first.KeyFile)
	require.NoError(t, err)

	opts.Answers.ListenPort = "443"
	_, err = Run(t.Context(), opts)
	require.EqualError(t, err, first.File+" is there already: name another file with --output, or say --force to replace it")
	again, err := os.ReadFile(first.File)
	require.NoError(t, err)
	require.Equal(t, string(text), string(again))

	// What a killed one has left is gone afterwards.
	for _, name := range []string{".waylumed.yaml.new-1", ".k.secret.new-2"} {
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(first.File), name), []byte("left"), 0o600))
	}
	opts.Force = true
	second, err := Run(t.Context(), opts)
	require.NoError(t, err)
	require.True(t, second.KeyKept)
	require.Equal(t, uint16(443), check(t, second, "k.secret", "waylumed.yaml").Config.Node.ListenPort)
	kept, err := os.ReadFile(first.KeyFile)
	require.NoError(t, err)
	require.Equal(t, string(secret), string(kept))
	var out strings.Builder
	second.Show(&out)
	require.Contains(t, out.String(), "was there, and is kept")

	// A key that is there and is none is no reason to lose it, or the file.
	require.NoError(t, os.WriteFile(first.KeyFile, []byte("short"), 0o600))
	_, err = Run(t.Context(), opts)
	require.ErrorContains(t, err, "nothing was written: the configuration is wrong: api.auth.keys[0].file: "+first.KeyFile+": is "+
		"shorter than 32 bytes")
	require.FileExists(t, first.KeyFile)
	require.Equal(t, uint16(443), second.Loaded.Config.Node.ListenPort)
}
