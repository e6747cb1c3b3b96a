package wggo

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func prefixes(texts ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, text := range texts {
		p = append(p, netip.MustParsePrefix(text))
	}
	return p
}

func TestWritePeer(t *testing.T) {
	var w strings.Builder
	key := wgtypes.Key{1, 2, 3}
	writePeer(&w, Peer{PublicKey: key, AllowedIPs: prefixes("10.0.0.2/32", "fd77::2/128"), Keepalive: 25 * time.Second})
	require.Equal(t, "public_key="+hexKey(key)+"\npreshared_key="+strings.Repeat("0", 64)+"\npersistent_keepalive_interval=25\n"+
		"replace_allowed_ips=true\nallowed_ip=10.0.0.2/32\nallowed_ip=fd77::2/128\n", w.String())
}

func TestParseReport(t *testing.T) {
	k := strings.Repeat("ab", 32)
	got, err := parseReport(strings.NewReader("private_key=" + k + "\nlisten_port=51820\nfwmark=3\npublic_key=" + k +
		"\npreshared_key=" + k + "\nprotocol_version=1\nendpoint=[::ffff:192.0.2.1]:7\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6\n" +
		"tx_bytes=8\nrx_bytes=9\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.2/32\nallowed_ip=fd00::/8\n\n"))
	require.NoError(t, err)
	want := PeerStatus{
		Peer:          Peer{AllowedIPs: prefixes("10.0.0.2/32", "fd00::/8"), Keepalive: 25 * time.Second},
		LastHandshake: time.Unix(5, 6), Endpoint: netip.MustParseAddrPort("192.0.2.1:7"), SentBytes: 8, ReceivedBytes: 9,
	}
	want.PublicKey, err = parseKey(k)
	require.NoError(t, err)
	want.PresharedKey = want.PublicKey
	require.Equal(t, Status{PrivateKey: want.PublicKey, ListenPort: 51820, Peers: []PeerStatus{want}}, got)
	for _, bad := range []string{
		"listen_port=70000", "public_key=abcd", "public_key=" + k + "\nallowed_ip=x", "public_key=" + k + "\nendpoint=x",
		"public_key=" + k + "\npreshared_key=zz", "public_key=" + k + "\nrx_bytes=-1",
	} {
		_, err := parseReport(strings.NewReader(bad + "\n"))
		require.Error(t, err, bad)
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte("listen_port=1\npublic_key=" + hexKey(wgtypes.Key{9}) + "\nendpoint=1.2.3.4:5\n\n"))
	f.Add([]byte("public_key=00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := parseReport(bytes.NewReader(text))
		require.True(t, err == nil || report.Peers == nil, "an error comes alone")
	})
}

func TestDeviceLogger(t *testing.T) {
	var text strings.Builder
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		text.Reset()
		log := deviceLogger(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: level})))
		log.Verbosef("word %d", 1)
		log.Errorf("trouble %d", 2)
		require.Equal(t, level == slog.LevelDebug, strings.Contains(text.String(), "word 1"))
		require.Contains(t, text.String(), "trouble 2")
	}
	deviceLogger(nil).Errorf("nobody hears")
}
