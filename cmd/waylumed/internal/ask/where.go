package ask

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/client"
)

// maxToken bounds a file with a token, in bytes.
const maxToken = 64 << 10

// Where are the words of a command line about where the API is, and who asks.
type Where struct {
	// URL is as client.Config has it.
	URL string
	// TokenFile holds a bearer token; empty: none is sent.
	TokenFile string
	// Signer signs each request; without a key none is signed.
	Signer Signer
	// CAFile holds certificates, in PEM, of the authorities that the API's is of; empty: the system's.
	CAFile string
	// CertFile and KeyFile, in PEM, are who asks; empty: nobody.
	CertFile, KeyFile string
	// Attempts and Timeout are as client.Config has them.
	Attempts int
	Timeout  time.Duration
}

// Socket is the API's socket in a node's directory.
func Socket(dir string) string { return filepath.Join(dir, "api.sock") }

// Client returns a client, having asked nothing.
func (w Where) Client(version string) (*client.Client, error) {
	cfg := client.Config{URL: w.URL, Attempts: w.Attempts, Timeout: w.Timeout, UserAgent: "waylumed/" + version}
	if w.TokenFile != "" {
		token, err := readToken(w.TokenFile)
		if err != nil {
			return nil, err
		}
		cfg.Authorize = client.Bearer(token)
	}
	signed, err := w.Signer.authorize()
	if err != nil {
		return nil, err
	}
	if signed != nil {
		if cfg.Authorize != nil {
			return nil, errors.New("--token-file and --sign-key say both who asks: give one of them")
		}
		cfg.Authorize = signed
	}
	if cfg.TLS, err = w.tls(); err != nil {
		return nil, err
	}
	return client.New(cfg)
}

func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer file.Close()
	buffer := make([]byte, maxToken+1)
	n, err := file.Read(buffer)
	token := bytes.TrimSpace(buffer[:n])
	switch {
	case n == 0:
		return "", fmt.Errorf("--token-file: %s is empty: put the token into it", path)
	case err != nil:
		return "", fmt.Errorf("--token-file: %w", err)
	case n > maxToken || len(token) == 0 || bytes.ContainsAny(token, " \t\r\n"):
		return "", fmt.Errorf("--token-file: %s is not a token: put one into it, on one line", path)
	}
	return string(token), nil
}

// tls is nil when nothing of it was said.
func (w Where) tls() (*tls.Config, error) {
	if w.CAFile == "" && w.CertFile == "" && w.KeyFile == "" {
		return nil, nil //nolint:nilnil // which is the client's default
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if w.CAFile != "" {
		pem, err := os.ReadFile(w.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: %s has no certificate in PEM", w.CAFile)
		}
	}
	if (w.CertFile == "") != (w.KeyFile == "") {
		return nil, errors.New("--cert-file and --key-file go together: give both or none")
	}
	if w.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(w.CertFile, w.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}
