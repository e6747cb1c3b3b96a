package ask

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"rsc.io/qr"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/internal/qrtext"
	"github.com/waylume/waylume/wgnode"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// maxSecrets bounds a file with a private key or a configuration, in bytes.
const maxSecrets = 64 << 10

// File is a new file for a configuration, which holds a secret: it is there, for its owner alone, before there is anything to
// write.
type File struct {
	file *os.File
	done bool
}

// NewFile makes a file that was not there.
func NewFile(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("--out: %w\nIt may hold a private key that is nowhere else: name another file, or move it away", err)
	}
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return &File{file: file}, nil
}

// Name is its path.
func (f *File) Name() string { return f.file.Name() }

// Save writes a configuration, so that it is on the disk.
func (f *File) Save(config string) error {
	_, err := io.WriteString(f.file, config)
	if err == nil {
		err = f.file.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.Name()))
	}
	f.done = err == nil
	return err
}

// Close closes the file, and takes it away unless it was saved.
func (f *File) Close() error {
	err := f.file.Close()
	if !f.done {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// syncDir puts names on the disk, where a system can.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err,
		fs.ErrPermission) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}

// Secrets are what a device alone has, and its peer's configuration needs.
type Secrets struct{ private, preshared api.Key }

// ReadSecrets reads a file with a private key, as 'wg genkey' writes it, or with a configuration that was saved. No error shows
// what is in it.
func ReadSecrets(path string) (s Secrets, err error) {
	file, err := os.Open(path)
	if err != nil {
		return s, fmt.Errorf("--private-key-file: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(io.LimitReader(file, maxSecrets))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case ok && strings.EqualFold(name, "PrivateKey"):
			err = s.private.UnmarshalText([]byte(value))
		case ok && strings.EqualFold(name, "PresharedKey"):
			err = s.preshared.UnmarshalText([]byte(value))
		case s.private == api.Key{}:
			_ = s.private.UnmarshalText([]byte(strings.TrimSpace(lines.Text()))) // else it is another line
		}
		if err != nil {
			return Secrets{}, fmt.Errorf("--private-key-file: in %s, %s %w", path, name, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Secrets{}, fmt.Errorf("--private-key-file: %s: %w", path, err)
	}
	if s.private == (api.Key{}) {
		return Secrets{}, fmt.Errorf("--private-key-file: %s has no private key: name a file that 'wg genkey' or --out wrote", path)
	}
	return s, nil
}

// Complete puts the secrets into a peer's configuration, which they must be of.
func (s Secrets) Complete(p api.Peer, c api.PeerConfig) (string, error) {
	if public := wgtypes.Key(s.private).PublicKey(); api.Key(public) != p.PublicKey {
		return "", fmt.Errorf("the private key is not that of peer %s: its public key is %s, and the peer's is %s", Called(p),
			public, p.PublicKey)
	}
	if c.HasPresharedKey && s.preshared == (api.Key{}) {
		return "", fmt.Errorf("peer %s has a preshared key, which is not shown: "+
			"give --private-key-file a whole configuration that has it", Called(p))
	}
	cfg := wgnode.ClientConfig{
		PrivateKey: wgtypes.Key(s.private), Addrs: c.Addresses, DNS: c.DNS, MTU: c.MTU, ServerKey: wgtypes.Key(c.ServerPublicKey),
		AllowedIPs: c.AllowedIPs, Endpoint: c.Endpoint, Keepalive: time.Duration(c.Keepalive),
	}
	if c.HasPresharedKey {
		cfg.PresharedKey = wgtypes.Key(s.preshared)
	}
	return cfg.String(), nil
}

// WriteCode shows a configuration as a QR code, which is right for a scanner on a terminal of any colours, where colours are
// wanted.
func WriteCode(c console.Console, config string) error {
	code, err := qr.Encode(config, qr.L) // as wgnode.ClientConfig does
	if err != nil {
		return err
	}
	var b strings.Builder
	if size := code.Size + 2*qrtext.QuietZone; c.Width > 0 && c.Width < size {
		fmt.Fprintf(&b, "The code needs %d columns and this terminal has %d: make it wider, or the text smaller.\n\n", size, c.Width)
	}
	for line := range strings.Lines(qrtext.Draw(code)) {
		if c.Colour {
			line = "\x1b[97;40m" + strings.TrimSuffix(line, "\n") + "\x1b[0m\n"
		}
		b.WriteString(line)
	}
	_, err = io.WriteString(c, b.String())
	return err
}
