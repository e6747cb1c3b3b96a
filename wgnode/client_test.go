package wgnode

import (
	"bytes"
	"image/png"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"rsc.io/qr/coding"

	"github.com/waylume/waylume/internal/qrtext"
)

// sampleClient is a configuration with every line.
func sampleClient() ClientConfig {
	return ClientConfig{
		PrivateKey:   wgtypes.Key{0: 1, 31: 64},
		Addrs:        []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd77:6179:6c75:6d65::2")},
		DNS:          DefaultDNS(),
		MTU:          1420,
		ServerKey:    wgtypes.Key{0: 3, 31: 4},
		PresharedKey: wgtypes.Key{0: 5, 31: 6},
		AllowedIPs:   []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Endpoint:     "vpn.example.com:51820",
		Keepalive:    25 * time.Second,
	}
}

func TestClientConfigText(t *testing.T) {
	minimal := sampleClient()
	minimal.PrivateKey, minimal.PresharedKey, minimal.DNS, minimal.Keepalive, minimal.MTU = wgtypes.Key{}, wgtypes.Key{}, nil, 0, 0
	minimal.Addrs = minimal.Addrs[:1]
	for name, c := range map[string]ClientConfig{"client.conf": sampleClient(), "client-minimal.conf": minimal} {
		want, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		require.Equal(t, string(want), c.String(), name)
		var b bytes.Buffer
		n, err := c.WriteTo(&b)
		require.NoError(t, err)
		require.Equal(t, int64(len(want)), n)
		require.Equal(t, string(want), b.String())
	}
}

// TestQRTextDecodes reads the code back as a scanner does, but for error correction.
func TestQRTextDecodes(t *testing.T) {
	c := sampleClient()
	text, err := c.QRText()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	width := len([]rune(lines[0]))
	require.LessOrEqual(t, width, 80, "fits a terminal")

	var rows [][]bool // true is dark
	for _, line := range lines {
		upper, lower := make([]bool, 0, width), make([]bool, 0, width)
		require.Len(t, []rune(line), width)
		for _, r := range line {
			require.Contains(t, "█▀▄ ", string(r))
			upper = append(upper, r == '▄' || r == ' ')
			lower = append(lower, r == '▀' || r == ' ')
		}
		rows = append(rows, upper, lower)
	}
	for i := range width { // the quiet zone is light all around
		for margin := range qrtext.QuietZone {
			for _, dark := range []bool{rows[margin][i], rows[width-1-margin][i], rows[i][margin], rows[i][width-1-margin]} {
				require.False(t, dark, "quiet zone")
			}
		}
	}
	size := width - 2*qrtext.QuietZone
	require.Equal(t, c.String(), decodeQR(t, size, func(x, y int) bool { return rows[y+qrtext.QuietZone][x+qrtext.QuietZone] }))
}

func TestQRPNGDecodes(t *testing.T) {
	c := sampleClient()
	data, err := c.QRPNG()
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	code, err := c.qrCode()
	require.NoError(t, err)
	require.Equal(t, (code.Size+2*qrtext.QuietZone)*code.Scale, img.Bounds().Dx())
	dark := func(x, y int) bool {
		r, _, _, _ := img.At((x+qrtext.QuietZone)*code.Scale+code.Scale/2, (y+qrtext.QuietZone)*code.Scale+code.Scale/2).RGBA()
		return r < 0x8000
	}
	require.Equal(t, c.String(), decodeQR(t, code.Size, dark))
}

// decodeQR checks the fixed patterns of a code of error correction level L, and reads its text.
func decodeQR(t *testing.T, size int, dark func(x, y int) bool) string {
	t.Helper()
	version := coding.Version((size - 17) / 4)
	plan, err := coding.NewPlan(version, coding.L, 0)
	require.NoError(t, err)
	require.Len(t, plan.Pixel, size)
	data := make([]byte, plan.DataBytes)
	for y, row := range plan.Pixel {
		for x, pixel := range row {
			bit := dark(x, y) != (pixel&coding.Black != 0)
			switch pixel.Role() {
			case coding.Data:
				if o := pixel.Offset(); bit {
					data[o/8] |= 1 << (7 - o%8)
				}
			case coding.Check, coding.Extra:
			default:
				require.False(t, bit, "fixed pattern at %d,%d", x, y)
			}
		}
	}
	read := func(at, bits int) (v int) {
		for i := at; i < at+bits; i++ {
			v = v<<1 | int(data[i/8]>>(7-i%8)&1)
		}
		return v
	}
	require.Equal(t, 4, read(0, 4), "bytes are encoded")
	lengthBits := 16
	if version < 10 {
		lengthBits = 8
	}
	text := make([]byte, read(4, lengthBits))
	for i := range text {
		text[i] = byte(read(4+lengthBits+8*i, 8))
	}
	return string(text)
}

func TestQRNeedsAPrivateKey(t *testing.T) {
	c := sampleClient()
	c.PrivateKey = wgtypes.Key{}
	_, err := c.QRText()
	require.ErrorIs(t, err, ErrInvalid)
	_, err = c.QRPNG()
	require.ErrorIs(t, err, ErrInvalid)
}

func TestClientConfigOfPeer(t *testing.T) {
	r := startRig(t)
	p, err := r.AddPeer(t.Context(), PeerSpec{PresharedKey: wgtypes.Key{9}})
	require.NoError(t, err)
	c, err := r.ClientConfig(p.PublicKey, p.PrivateKey)
	require.NoError(t, err)
	require.Equal(t, ClientConfig{
		PrivateKey: p.PrivateKey, Addrs: p.Addrs, DNS: DefaultDNS(), MTU: DefaultMTU, ServerKey: r.up.publicKey,
		PresharedKey: wgtypes.Key{9}, AllowedIPs: c.AllowedIPs, Endpoint: "vpn.example.com:51820", Keepalive: DefaultKeepalive,
	}, c)
	require.Equal(t, "0.0.0.0/0, ::/0", join(c.AllowedIPs))
	c, err = r.ClientConfig(p.PublicKey, wgtypes.Key{})
	require.NoError(t, err)
	require.Contains(t, c.String(), "# PrivateKey")

	_, err = r.ClientConfig(p.PublicKey, wgtypes.Key{7})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = r.ClientConfig(newKey(t), wgtypes.Key{})
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, r.Close())
	_, err = r.ClientConfig(p.PublicKey, wgtypes.Key{})
	require.ErrorIs(t, err, ErrClosed)
}

func TestEndpoint(t *testing.T) {
	none := startRig(t, func(c *Config) { c.Endpoint = "" })
	p := none.add(t, PeerSpec{})
	_, err := none.ClientConfig(p.PublicKey, wgtypes.Key{})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "set Config.Endpoint")

	for endpoint, want := range map[string]string{
		"vpn.example.com:443":    "vpn.example.com:443",
		"vpn.example.com":        "vpn.example.com:40404",
		"192.0.2.1":              "192.0.2.1:40404",
		"2001:db8::1":            "[2001:db8::1]:40404",
		"[2001:db8::1]":          "[2001:db8::1]:40404",
		"[2001:db8::1]:51820":    "[2001:db8::1]:51820",
		"xn--mnchen-3ya.example": "xn--mnchen-3ya.example:40404",
	} {
		r := startRig(t, func(c *Config) { c.Endpoint = endpoint })
		c, err := r.ClientConfig(r.add(t, PeerSpec{}).PublicKey, wgtypes.Key{})
		require.NoError(t, err, endpoint)
		require.Equal(t, want, c.Endpoint)
	}
	for _, endpoint := range []string{":51820", "host:", "host:0", "host:65536", "host:http", "ho st:1", "host\n[Peer]:1", "a..b",
		"-a.b", "host:1:2", "0.0.0.0:1", "ff02::1", "fe80::1%eth0", "fe80::1%\n", strings.Repeat("a.", 200), "http://host:1", "münchen.de"} {
		_, err := New(Config{Dataplane: &fakeDataplane{}, Endpoint: endpoint})
		require.ErrorIs(t, err, ErrInvalid, "%q", endpoint)
		require.ErrorContains(t, err, "Endpoint: ")
	}
}

// FuzzEndpoint holds that no endpoint that is accepted can break out of its line.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{"vpn.example.com:51820", "[::1]:1", "fe80::1%\n", "a:b:c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		if checkEndpoint(endpoint) != nil {
			return
		}
		c := sampleClient()
		lines := strings.Count(c.String(), "\n")
		c.Endpoint = withPort(endpoint, 51820)
		require.Equal(t, lines, strings.Count(c.String(), "\n"))
		require.NotContains(t, c.Endpoint, " ")
		require.NotContains(t, c.Endpoint, "#")
		require.NoError(t, checkEndpoint(c.Endpoint))
	})
}
