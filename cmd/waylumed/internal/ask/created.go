package ask

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// ShowCreated shows a peer whose configuration nobody will see again. It was saved in a file, unless that is empty.
func ShowCreated(c console.Console, p api.CreatedPeer, code bool, saved string) error {
	fmt.Fprintf(c, "%s  %s, key %s\n", c.Paint(console.Bold, "Peer "+Called(p.Peer)), addressText(p.Addresses, ", "), p.PublicKey)
	limits := "no speed limit"
	if p.SpeedLimit != (api.SpeedLimit{}) {
		limits = "speed limit " + Limit(p.SpeedLimit)
	}
	if p.DataCap == nil {
		limits += ", no data cap"
	} else {
		limits += ", data cap " + Cap(p.DataCap)
	}
	if p.Account != "" {
		limits += "; with all of account " + Clean(p.Account)
	}
	if !p.ExpiresAt.IsZero() {
		limits += "; " + Expiry(p.Peer)
	}
	fmt.Fprintf(c, "  %s\n", limits)
	if p.Config == "" {
		fmt.Fprintf(c, "\nThe node does not know where devices reach it, and so has no configuration for them: set its endpoint.\n")
		if p.PrivateKey != (api.Key{}) {
			fmt.Fprintf(c, "The peer's private key is shown this once and is not kept:\n%s\n", p.PrivateKey)
		}
		return nil
	}
	about := "it lacks the private key, which the device has"
	if p.PrivateKey != (api.Key{}) {
		about = "its private key is shown this once and is not kept"
	}
	if saved != "" {
		if p.PrivateKey != (api.Key{}) {
			about = "its private key is nowhere else"
		}
		fmt.Fprintf(c, "\nIts configuration is in %s: %s\n", saved, about)
	} else {
		fmt.Fprintf(c, "\n%s  %s\n\n%s", c.Paint(console.Bold, "Configuration"), about, Clean(p.Config))
	}
	if !code {
		return nil
	}
	return ShowCode(c, p.Config)
}

// ShowCode shows a configuration as a QR code, and says what to do with it.
func ShowCode(c console.Console, config string) error {
	if _, err := fmt.Fprintf(c, "\n%s  scan it with the WireGuard app: +, Create from QR code\n\n", c.Paint(console.Bold,
		"As a QR code")); err != nil {
		return err
	}
	return WriteCode(c, config)
}

// ReadKey reads a file with a key, as wg(8) writes it. No error shows what is in it.
func ReadKey(path string) (key api.Key, err error) {
	file, err := os.Open(path)
	if err != nil {
		return key, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecrets))
	if err != nil {
		return key, err
	}
	if err := key.UnmarshalText(bytes.TrimSpace(text)); err != nil {
		return api.Key{}, fmt.Errorf("%s %w", path, err)
	}
	return key, nil
}
