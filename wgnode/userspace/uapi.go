package userspace

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

	"github.com/waylume/waylume/wgnode"
)

// The device is configured in the text of WireGuard's cross-platform configuration protocol
// (https://www.wireguard.com/xplatform/).

// writeInterface says the node's own key and port. The key must come before the first peer: changed later, it costs time
// for each peer there is.
func writeInterface(w *strings.Builder, cfg wgnode.DataplaneConfig) {
	fmt.Fprintf(w, "private_key=%s\nlisten_port=%d\n", hexKey(cfg.PrivateKey), cfg.ListenPort)
}

// writeKey says another key of the node's, and that there are no peers: every session ends.
func writeKey(w *strings.Builder, key wgtypes.Key) {
	fmt.Fprintf(w, "replace_peers=true\nprivate_key=%s\n", hexKey(key))
}

// writePeer says all that the device knows of a peer; its session, if there is one, goes on.
func writePeer(w *strings.Builder, p wgnode.PeerState) {
	fmt.Fprintf(w, "public_key=%s\npreshared_key=%s\npersistent_keepalive_interval=%d\nreplace_allowed_ips=true\n",
		hexKey(p.PublicKey), hexKey(p.PresharedKey), p.Keepalive/time.Second)
	for _, addr := range p.Addrs {
		fmt.Fprintf(w, "allowed_ip=%s/%d\n", addr, addr.BitLen())
	}
}

func writeRemoval(w *strings.Builder, key wgtypes.Key) {
	fmt.Fprintf(w, "public_key=%s\nremove=true\n", hexKey(key))
}

func hexKey(key wgtypes.Key) string { return hex.EncodeToString(key[:]) }

// deviceStats are what only the device knows of a peer.
type deviceStats struct {
	lastHandshake  time.Time
	endpoint       netip.AddrPort
	received, sent uint64
}

// deviceReport is what the device says of itself.
type deviceReport struct {
	listenPort uint16
	peers      map[wgtypes.Key]deviceStats
}

// parseReport reads the device's answer to a get operation.
func parseReport(r io.Reader) (deviceReport, error) {
	report := deviceReport{peers: make(map[wgtypes.Key]deviceStats)}
	var (
		key           wgtypes.Key
		current       deviceStats
		seconds, nano int64
		inPeer        bool
	)
	finish := func() {
		if !inPeer {
			return
		}
		if seconds != 0 || nano != 0 {
			current.lastHandshake = time.Unix(seconds, nano)
		}
		report.peers[key] = current
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			continue // the empty line that ends the answer
		}
		var err error
		switch name {
		case "listen_port":
			var port uint64
			port, err = strconv.ParseUint(value, 10, 16)
			report.listenPort = uint16(port)
		case "public_key":
			finish()
			inPeer, current, seconds, nano = true, deviceStats{}, 0, 0
			var n int
			if n, err = hex.Decode(key[:], []byte(value[:min(len(value), 2*len(key))])); err == nil && n != len(key) {
				err = io.ErrUnexpectedEOF
			}
		case "endpoint":
			current.endpoint, err = netip.ParseAddrPort(value)
		case "last_handshake_time_sec":
			seconds, err = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			nano, err = strconv.ParseInt(value, 10, 64)
		case "rx_bytes":
			current.received, err = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			current.sent, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return deviceReport{}, fmt.Errorf("read the device's %s: %w", name, err)
		}
	}
	finish()
	return report, lines.Err()
}
