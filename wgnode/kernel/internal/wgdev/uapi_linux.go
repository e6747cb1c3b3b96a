package wgdev

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// wireguard-go is configured in the text of WireGuard's cross-platform configuration protocol
// (https://www.wireguard.com/xplatform/).

func interfaceText(cfg Config) string {
	return fmt.Sprintf("private_key=%s\nlisten_port=%d\nfwmark=%d\n", hexKey(cfg.PrivateKey), cfg.ListenPort, cfg.FirewallMark)
}

// writePeer says all of a peer; its session, if there is one, goes on.
func writePeer(w *strings.Builder, p Peer) {
	fmt.Fprintf(w, "public_key=%s\npreshared_key=%s\npersistent_keepalive_interval=%d\nreplace_allowed_ips=true\n",
		hexKey(p.PublicKey), hexKey(p.PresharedKey), p.Keepalive/time.Second)
	for _, prefix := range p.AllowedIPs {
		fmt.Fprintf(w, "allowed_ip=%s\n", prefix)
	}
}

func hexKey(key wgtypes.Key) string { return hex.EncodeToString(key[:]) }

// report is what the device says of itself.
type report struct {
	privateKey wgtypes.Key
	listenPort uint16
	peers      []PeerStatus
}

func readReport(dev *device.Device) (report, error) {
	var answer strings.Builder
	if err := dev.IpcGetOperation(&answer); err != nil {
		return report{}, err
	}
	return parseReport(strings.NewReader(answer.String()))
}

// parseReport reads the device's answer to a get operation.
func parseReport(r io.Reader) (report, error) {
	var answer report
	for lines := bufio.NewScanner(r); ; {
		if !lines.Scan() {
			return answer, lines.Err()
		}
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			continue // the empty line that ends the answer
		}
		if err := answer.take(name, value); err != nil {
			return report{}, fmt.Errorf("read the device's %s: %w", name, err)
		}
	}
}

// take takes one line of the answer; what is of a peer is of the last one.
func (r *report) take(name, value string) error {
	if name == "public_key" {
		key, err := parseKey(value)
		r.peers = append(r.peers, PeerStatus{Peer: Peer{PublicKey: key}})
		return err
	}
	if len(r.peers) == 0 {
		return r.takeOwn(name, value)
	}
	p := &r.peers[len(r.peers)-1]
	var err error
	switch name {
	case "preshared_key":
		p.PresharedKey, err = parseKey(value)
	case "allowed_ip":
		var prefix netip.Prefix
		prefix, err = netip.ParsePrefix(value)
		p.AllowedIPs = append(p.AllowedIPs, prefix)
	case "persistent_keepalive_interval":
		var seconds uint64
		seconds, err = strconv.ParseUint(value, 10, 16)
		p.Keepalive = time.Duration(seconds) * time.Second
	case "endpoint":
		var endpoint netip.AddrPort
		endpoint, err = netip.ParseAddrPort(value)
		p.Endpoint = netip.AddrPortFrom(endpoint.Addr().Unmap(), endpoint.Port())
	case "last_handshake_time_sec":
		var seconds int64
		if seconds, err = strconv.ParseInt(value, 10, 64); seconds != 0 {
			p.LastHandshake = time.Unix(seconds, 0)
		}
	case "last_handshake_time_nsec": // comes after the seconds
		var nanoseconds int64
		if nanoseconds, err = strconv.ParseInt(value, 10, 64); nanoseconds != 0 {
			p.LastHandshake = p.LastHandshake.Add(time.Duration(nanoseconds))
		}
	case "rx_bytes":
		p.ReceivedBytes, err = strconv.ParseUint(value, 10, 64)
	case "tx_bytes":
		p.SentBytes, err = strconv.ParseUint(value, 10, 64)
	}
	return err
}

// takeOwn takes one line that is of no peer.
func (r *report) takeOwn(name, value string) (err error) {
	switch name {
	case "private_key":
		r.privateKey, err = parseKey(value)
	case "listen_port":
		var port uint64
		port, err = strconv.ParseUint(value, 10, 16)
		r.listenPort = uint16(port)
	}
	return err
}

func parseKey(text string) (key wgtypes.Key, err error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != len(key) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		key = wgtypes.Key(b)
	}
	return key, err
}

// deviceLogger passes wireguard-go's words on.
func deviceLogger(log *slog.Logger) *device.Logger {
	if log == nil {
		return &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	}
	verbose := device.DiscardLogf
	if log.Enabled(context.Background(), slog.LevelDebug) {
		verbose = func(format string, args ...any) { log.Debug(fmt.Sprintf(format, args...)) }
	}
	return &device.Logger{
		Verbosef: verbose,
		Errorf:   func(format string, args ...any) { log.Warn(fmt.Sprintf(format, args...)) },
	}
}
