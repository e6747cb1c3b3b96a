package wggo

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// wireguard-go is configured in the text of WireGuard's cross-platform configuration protocol
// (https://www.wireguard.com/xplatform/).

// interfaceText is what comes before the first peer: a key that is changed later costs time for each peer there is.
func interfaceText(cfg Config, key wgtypes.Key) string {
	return fmt.Sprintf("private_key=%s\nlisten_port=%d\nfwmark=%d\n", hexKey(key), cfg.ListenPort, cfg.FirewallMark)
}

// keyText is another key, and no peers: every session ends.
func keyText(key wgtypes.Key) string { return "replace_peers=true\nprivate_key=" + hexKey(key) + "\n" }

// writePeer says all of a peer; its session, if there is one, goes on.
func writePeer(w *strings.Builder, p Peer) {
	fmt.Fprintf(w, "public_key=%s\npreshared_key=%s\npersistent_keepalive_interval=%d\nreplace_allowed_ips=true\n",
		hexKey(p.PublicKey), hexKey(p.PresharedKey), p.Keepalive/time.Second)
	for _, prefix := range p.AllowedIPs {
		fmt.Fprintf(w, "allowed_ip=%s\n", prefix)
	}
}

// writeEndpoint says where the peer of before is.
func writeEndpoint(w *strings.Builder, endpoint netip.AddrPort) {
	fmt.Fprintf(w, "endpoint=%s\n", endpoint)
}

// keepaliveText is another interval of keepalives for a peer that the device has.
func keepaliveText(key wgtypes.Key, interval time.Duration) string {
	return fmt.Sprintf("public_key=%s\nupdate_only=true\npersistent_keepalive_interval=%d\n", hexKey(key), interval/time.Second)
}

func hexKey(key wgtypes.Key) string { return hex.EncodeToString(key[:]) }

// parseReport reads a device's answer to a get operation.
func parseReport(r io.Reader) (Status, error) {
	var answer Status
	for lines := bufio.NewScanner(r); ; {
		if !lines.Scan() {
			return answer, lines.Err()
		}
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			continue // the empty line that ends the answer
		}
		if err := answer.take(name, value); err != nil {
			return Status{}, fmt.Errorf("read the device's %s: %w", name, err)
		}
	}
}

// take takes one line of the answer; what is of a peer is of the last one.
func (s *Status) take(name, value string) error {
	if name == "public_key" {
		key, err := parseKey(value)
		s.Peers = append(s.Peers, PeerStatus{Peer: Peer{PublicKey: key}})
		return err
	}
	if len(s.Peers) == 0 {
		return s.takeOwn(name, value)
	}
	p := &s.Peers[len(s.Peers)-1]
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
func (s *Status) takeOwn(name, value string) (err error) {
	switch name {
	case "private_key":
		s.PrivateKey, err = parseKey(value)
	case "listen_port":
		var port uint64
		port, err = strconv.ParseUint(value, 10, 16)
		s.ListenPort = uint16(port)
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
