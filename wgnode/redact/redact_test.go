package redact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/redact"
)

const key = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx/FG+IK08="

func TestText(t *testing.T) {
	raw := strings.TrimSuffix(key, "=")
	url := strings.NewReplacer("+", "-", "/", "_").Replace(raw)
	for _, c := range []struct{ in, partial, strict string }{
		{"", "", ""},
		{"node started", "node started", "node started"},
		{"at 12:34:56.789 v1.2.3", "at 12:34:56.789 v1.2.3", "at 12:34:56.789 v1.2.3"},
		{"from 192.0.2.77:51820", "from 192.0.2.0/24", "from [address]"},
		{"192.0.2.77", "192.0.2.0/24", "[address]"},
		{"10.66.0.7/32, 10.66.1.8.", "10.66.0.0/24, 10.66.1.0/24.", "[address], [address]."},
		{"peer10.0.0.1x", "peer10.0.0.0/24x", "peer[address]x"},
		{"0.0.0.0:51820 [::]:51820", "0.0.0.0 ::", "0.0.0.0 ::"},
		{"256.1.1.1 1.2.3", "256.1.1.1 1.2.3", "256.1.1.1 1.2.3"},
		{"to [2001:db8:1:2::77]:443: refused", "to 2001:db8:1::/48: refused", "to [address]: refused"},
		{"fe80::1%eth0 gone", "fe80::/48 gone", "[address] gone"},
		{"::ffff:192.0.2.77", "192.0.2.0/24", "[address]"},
		{"listens:2001:db8::1", "listens:2001:db8::/48", "listens:[address]"},
		{"2001:0db8:0001:0002:0003:0004:0005:0006/128", "2001:db8:1::/48", "[address]"},
		{"at%202001%3Adb8%3A1%3A%3A77", "at%202001:db8:1::/48", "at%20[address]"},
		{"peer " + key + " gone", "peer 3p7bfX… gone", "peer [key] gone"},
		{"private_key=" + key, "private_key=3p7bfX…", "private_key=[key]"},
		{"GET /api/v1/peers/" + key, "GET /api/v1/peers/3p7bfX…", "GET /api/v1/peers/[key]"},
		{"GET /peers/3p7bfXt9wbTTW2HC7OQ1Nz%2BDQ8hbeGdNrfx%2fFG%2BIK08%3D", "GET /peers/3p7bfX…", "GET /peers/[key]"},
		{"peers/" + url, "peers/3p7bfX…", "[key]"},
		{raw, "3p7bfX…", "[key]"},
		{"public_key=" + strings.Repeat("ab", 32), "public_key=ababab…", "public_key=[key]"},
		{"peer(3p7b…IK08) - Sending", "peer(3p7b…) - Sending", "peer([key]) - Sending"},
		{`account "family" is full`, `account [account#H] is full`, `account "[text]" is full`},
		{`account "a\"b" x`, `account [account#H] x`, `account "[text]" x`},
		{`account=family accounts: "x" Account: "y"`, `account=family accounts: [account#H] Account: [account#H]`, `account=family accounts: "[text]" Account: "[text]"`},
		{`"x" does not exist`, `"x" does not exist`, `"[text]" does not exist`},
		{"open `C:\\x` or \"never closed", "open `C:\\x` or \"never closed", `open "[text]" or "[text]"`},
	} {
		for mode, want := range map[redact.Mode]string{redact.Off: c.in, redact.Partial: c.partial, redact.Strict: c.strict} {
			got := redact.New(mode, redact.Options{}).Text(c.in)
			got = regexp.MustCompile(`#[0-9a-f]{6}\]`).ReplaceAllString(got, "#H]")
			require.Equal(t, want, got, "%v %q", mode, c.in)
		}
	}
}

func TestModes(t *testing.T) {
	for _, m := range []redact.Mode{redact.Off, redact.Partial, redact.Strict} {
		text, err := m.MarshalText()
		require.NoError(t, err)
		var back redact.Mode
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, m, back)
	}
	_, err := redact.ParseMode("none")
	require.ErrorIs(t, err, redact.ErrMode)
	require.EqualError(t, err, `no mode of redaction: "none": give off, partial or strict`)
	r := redact.New(redact.Mode(17), redact.Options{})
	require.Equal(t, redact.Strict, r.Mode(), "what does not exist lets nothing out")
	require.Equal(t, "[account]", r.Account("family"))
	require.Equal(t, "[name]", r.Name("phone"))
	require.Equal(t, "[address]", r.Addr(netip.MustParseAddr("192.0.2.7")))
	r.SetMode(redact.Partial)
	family := r.Account("family")
	require.Equal(t, family, r.Account("family"))
	require.NotEqual(t, r.Account("family"), r.Account("office"))
	require.NotEqual(t, r.Account("family"), redact.New(redact.Partial, redact.Options{}).Account("family"))
	require.Equal(t, "2001:db8::/48", r.Addr(netip.MustParseAddr("2001:db8::7")))
}

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

type customer struct {
	AccountID string
	Name      string
	Key       wgtypes.Key
	Addrs     []netip.Addr
	Note      string
	Inner     *customer
	hidden    string
}

// pair is an attribute's key and value.
type pair struct {
	key   string
	value any
}

// TestValues logs secrets in every guise that a value can have, as JSON and as text.
func TestValues(t *testing.T) {
	k, err := wgtypes.ParseKey(key)
	require.NoError(t, err)
	addr := netip.MustParseAddr("192.0.2.77")
	secrets := []string{key, "192.0.2.77", "2001:db8:1:2::77", "family", "phone"}
	six := netip.MustParseAddr("2001:db8:1:2::77")
	var nobody *customer
	c := customer{AccountID: "family", Name: "phone", Key: k, Addrs: []netip.Addr{addr, six}, Note: "from 192.0.2.77", hidden: "family"}
	c.Inner = &c
	values := []pair{
		{"peer", k}, {"keys", []wgtypes.Key{k}}, {"by_key", map[wgtypes.Key]netip.Addr{k: addr}},
		{"addr", addr}, {"endpoint", netip.AddrPortFrom(six, 51820)}, {"prefix", netip.PrefixFrom(addr, 32)},
		{"ip", net.ParseIP("192.0.2.77")}, {"udp", &net.UDPAddr{IP: net.ParseIP("2001:db8:1:2::77"), Port: 1}},
		{"subject", wgnode.OfAccount("family")}, {"subject", wgnode.OfPeer(k)},
		{"account", "family"}, {"former_account", "family"}, {"accountID", "family"},
		{"accounts", []string{"family"}}, {"labels", map[string]string{"who": "phone"}}, {"name", "phone"},
		{"error", fmt.Errorf("peer %v of account %q: %w", k, "family", errors.New("dial 192.0.2.77:443"))},
		{"account", slog.GroupValue(slog.String("id", "family"), slog.Attr{Key: "peer", Value: slog.GroupValue(slog.String("name", "phone"))})},
		{"customer", c}, {"x", &c}, {"nil", nobody}, {"none", nil},
		{"lazy", valuer{slog.AnyValue(valuer{slog.GroupValue(slog.String("name", "phone"), slog.Any("k", k))})}},
		{"list", []any{valuer{slog.StringValue(key)}, errors.New(key)}}, {"raw", k[:]},
		{"bytes", [32]byte(k)}, {"text", key}, {"other", "of account \"family\" from 192.0.2.77"},
		{"account", 7}, {"port", 51820},
	}
	for _, text := range []bool{false, true} {
		for _, mode := range []redact.Mode{redact.Partial, redact.Strict, redact.Off} {
			var out bytes.Buffer
			r := redact.New(mode, redact.Options{})
			h := r.Handler(slog.NewJSONHandler(&out, nil))
			if text {
				h = r.Handler(slog.NewTextHandler(&out, nil))
			}
			log := slog.New(h)
			for _, a := range values {
				if mode == redact.Off && (a.key == "customer" || a.key == "x") {
					continue // it refers to itself, which no handler can write
				}
				log.Info("peer "+key+" at 192.0.2.77", a.key, a.value)
				log.With(a.key, a.value).WithGroup("account").Info("it", "id", "family")
				log.WithGroup("g").With("name", "phone").Info("2001:db8:1:2::77", a.key, a.value)
			}
			for _, secret := range secrets {
				require.Equal(t, mode == redact.Off, strings.Contains(out.String(), secret), "%v %v %s\n%s", mode, text, secret, out.String())
			}
			if decimal := fmt.Sprintf("%v", k[:4]); mode != redact.Off {
				require.NotContains(t, out.String(), strings.Trim(decimal, "[]"))
				require.Contains(t, out.String(), "51820")
			}
			if !text {
				for line := range strings.Lines(out.String()) {
					require.True(t, json.Valid([]byte(line)), line)
				}
			}
		}
	}
}

// TestModeChangesAtRunTime changes mode and level under a logger that carries attributes.
func TestModeChangesAtRunTime(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	r := redact.New(redact.Strict, redact.Options{Harmless: []string{"fleet"}})
	log := slog.New(r.Handler(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: &level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))).With("account", "family", "audit_head", "1:"+strings.Repeat("ab", 32), "fleet", "west", "rack", "b7")
	said := func(level slog.Level) string {
		out.Reset()
		log.Log(t.Context(), level, "x", "addr", netip.MustParseAddr("192.0.2.7"))
		return out.String()
	}
	head := " audit_head=1:" + strings.Repeat("ab", 32) + " fleet=west"
	require.Equal(t, "level=INFO msg=x account=[account]"+head+" rack=[text] addr=[address]\n", said(slog.LevelInfo))
	r.SetMode(redact.Off)
	require.Equal(t, "level=INFO msg=x account=family"+head+" rack=b7 addr=192.0.2.7\n", said(slog.LevelInfo))
	r.SetMode(redact.Partial)
	require.Equal(t, "level=INFO msg=x account="+r.Account("family")+head+" rack=b7 addr=192.0.2.0/24\n", said(slog.LevelInfo))
	require.Empty(t, said(slog.LevelDebug))
	level.Set(slog.LevelDebug)
	require.NotEmpty(t, said(slog.LevelDebug))
}

// FuzzText puts a key and addresses into any text: nothing of them comes out, whatever stands around.
func FuzzText(f *testing.F) {
	f.Add("peer ", " gone", uint32(0xc0000207), uint64(7))
	f.Add("[", "]:51820", uint32(1), uint64(1<<63))
	f.Add("a::", "::b", uint32(1<<31), uint64(0xffff<<32))
	f.Add(`"\`, "…", uint32(0x0a000001), uint64(0))
	f.Fuzz(func(t *testing.T, before, after string, four uint32, six uint64) {
		k, err := wgtypes.ParseKey(key)
		require.NoError(t, err)
		a4 := netip.AddrFrom4([4]byte{byte(four>>24) | 1, byte(four >> 16), byte(four >> 8), byte(four)})
		b := [16]byte{0x20, 1, 0xd, 0xb8, 1, 2, 3, 4}
		for i := range 8 {
			b[8+i] = byte(six >> (8 * i))
		}
		a6 := netip.AddrFrom16(b)
		for _, mode := range []redact.Mode{redact.Partial, redact.Strict} {
			r := redact.New(mode, redact.Options{})
			require.NotContains(t, r.Text(before+k.String()+after), k.String())
			if got := r.Text(before + " " + a4.String() + " " + after); !strings.Contains(before+after, a4.String()) {
				require.NotContains(t, got, " "+a4.String()+" ")
			}
			if got := r.Text(before + " " + a6.String() + " " + after); !strings.Contains(before+after, a6.String()) {
				require.NotContains(t, got, " "+a6.String()+" ")
			}
		}
	})
}

func BenchmarkHandler(b *testing.B) {
	k, err := wgtypes.ParseKey(key)
	require.NoError(b, err)
	addrs := []netip.Addr{netip.MustParseAddr("10.66.0.7"), netip.MustParseAddr("fd00::7")}
	for _, mode := range []redact.Mode{redact.Off, redact.Partial, redact.Strict} {
		b.Run(mode.String(), func(b *testing.B) {
			log := slog.New(redact.New(mode, redact.Options{}).Handler(slog.NewJSONHandler(discard{}, nil)))
			b.ReportAllocs()
			for b.Loop() {
				log.Info("peer added", "peer", k, "account", "family", "addresses", addrs)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
