package up

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode/userspace"
)

// screen is what a person would see.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) waitFor(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(s.String(), text) }, 20*time.Second, 10*time.Millisecond,
		"%q is not shown", text)
}

// settings are those of a command line with a few flags, on the loopback and at any port.
func settings(state string) Settings {
	s := Default()
	s.State, s.ListenPort, s.Endpoint, s.Dataplane = state, 0, "127.0.0.1", host.Userspace
	return s
}

// runUp runs a node until stop, which returns what was shown.
func runUp(t *testing.T, s Settings, dial userspace.DialFunc) (shown *screen, stop func() string) {
	t.Helper()
	return runUpWith(t, Options{Settings: s, dial: dial})
}

// runUpWith is runUp with all options but where it is shown.
func runUpWith(t *testing.T, o Options) (shown *screen, stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	shown = &screen{}
	ended := make(chan error, 1)
	o.Out = console.New(shown, nil)
	go func() { ended <- Run(ctx, o) }()
	var once sync.Once
	stop = func() string {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
		return shown.String()
	}
	t.Cleanup(func() { stop() })
	shown.waitFor(t, "Running. Ctrl-C stops it.")
	return shown, stop
}

// field reads a field of a configuration that was shown.
func field(t *testing.T, text, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` = (.*)$`).FindStringSubmatch(text)
	require.NotNil(t, found, "no %s is shown", name)
	return found[1]
}

func hexKey(t *testing.T, text string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return hex.EncodeToString(key)
}

// connect makes a stock WireGuard client of a configuration, as it was shown.
func connect(t *testing.T, text string) *netstack.Net {
	t.Helper()
	var addrs []netip.Addr
	for prefix := range strings.SplitSeq(field(t, text, "Address"), ", ") {
		addrs = append(addrs, netip.MustParsePrefix(prefix).Addr())
	}
	tun, stack, err := clienttun.Create(addrs, nil, 1420)
	require.NoError(t, err)
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	t.Cleanup(dev.Close)
	uapi := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%s\n", hexKey(t, field(t, text, "PrivateKey")),
		hexKey(t, field(t, text, "PublicKey")), field(t, text, "Endpoint"))
	for prefix := range strings.SplitSeq(field(t, text, "AllowedIPs"), ", ") {
		uapi += "allowed_ip=" + prefix + "\n"
	}
	require.NoError(t, dev.IpcSet(uapi))
	require.NoError(t, dev.Up())
	return stack
}

// website is a server on the loopback that sends a page of a size to whoever connects, and the way to it.
func website(t *testing.T, size int) userspace.DialFunc {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(2 * time.Second))
				_, _ = c.Write(make([]byte, size))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return func(ctx context.Context, _ userspace.Flow) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

// fetch reads a page, or what comes of it.
func fetch(t *testing.T, stack *netstack.Net) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := stack.DialContextTCPAddrPort(ctx, netip.MustParseAddrPort("192.0.2.80:80"))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(3*time.Second)))
	n, _ := io.Copy(io.Discard, c)
	return n
}

func TestFirstAndSecondRun(t *testing.T) {
	state := filepath.Join(t.TempDir(), "deep", "state")
	shown, stop := runUp(t, settings(state), website(t, 50_000))
	first := shown.String()
	require.Contains(t, first, "Configuration of peer first")
	require.Contains(t, first, "▀▀▀▀▀▀▀▀", "a QR code")
	require.Contains(t, first, "20mbit down, 20mbit up, 1GiB, then cut off")
	require.Contains(t, first, state)
	require.Contains(t, first, "Limitation")
	require.Equal(t, int64(50_000), fetch(t, connect(t, first)))
	shown.waitFor(t, "first connected from 127.0.0.1:")
	require.Contains(t, stop(), "first        received 5")
	require.Contains(t, first, "Usage log    every 15m, kept for 90d")
	log, err := usagelog.OpenReader(filepath.Join(state, "usage"))
	require.NoError(t, err)
	used, err := log.Usage(t.Context(), time.Now().Add(-time.Hour), time.Now(), nil)
	require.NoError(t, err)
	require.Len(t, used.Usages, 1)
	require.Equal(t, usagelog.Peer, used.Usages[0].Subject.Kind)
	require.Greater(t, used.Usages[0].Counters.Download, uint64(50_000))

	private := field(t, first, "PrivateKey")
	raw, err := base64.StdEncoding.DecodeString(private)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(state, func(path string, entry os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
		if entry.Type().IsRegular() {
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NotContains(t, string(content), private)
			require.NotContains(t, string(content), string(raw))
		}
		return nil
	}))

	shown, stop = runUp(t, settings(state), nil)
	second := shown.String()
	require.NotContains(t, second, "PrivateKey")
	require.Contains(t, second, "│ first │")
	require.Regexp(t, `│ 5\d\.\d KiB, 0 % │`, second)
	require.Contains(t, second, "waylumed up --new-peer")
	require.Contains(t, second, field(t, first, "PublicKey"), "the node's key stays")
	stop()
}

func TestNewPeer(t *testing.T) {
	s := settings(t.TempDir())
	s.Account, s.AccountSpeed, s.NoQR = "family", "50mbit", true
	shown, stop := runUp(t, s, nil)
	require.Contains(t, shown.String(), "with all of account family 50mbit down, 50mbit up, no data cap")
	require.NotContains(t, shown.String(), "█")
	stop()

	s.NewPeer, s.AccountSpeed, s.AccountCap, s.Speed, s.Upload, s.Cap = true, "", "1TiB", "unlimited", "3mbit", "none"
	shown, stop = runUp(t, s, nil)
	text := shown.String()
	require.Contains(t, text, "Configuration of peer peer-2")
	require.Contains(t, text, "3mbit up, no data cap; with all of account family 50mbit down, 50mbit up, 1TiB, then cut off")
	require.Contains(t, text, "│ first │ family  │")
	stop()
}

func TestCapIsTold(t *testing.T) {
	s := settings(t.TempDir())
	s.Cap = "100kB"
	shown, stop := runUp(t, s, website(t, 200_000))
	require.Less(t, fetch(t, connect(t, shown.String())), int64(100_000))
	shown.waitFor(t, "first has used 80 % of its data cap")
	shown.waitFor(t, "first has used up its data cap of 97.7 KiB")
	stop()
}

func TestFlagsOfAPeerThatIsNotMade(t *testing.T) {
	s := settings(t.TempDir())
	_, stop := runUp(t, s, nil)
	stop()
	s.Given = []string{"speed", "state", "cap"}
	err := Run(t.Context(), Options{Settings: s, Out: console.New(io.Discard, nil)})
	var invalid *SettingsError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Problems, 2)
	require.Contains(t, invalid.Problems[0], "--speed: is about a new peer")
	require.Contains(t, invalid.Problems[0], "--new-peer")
}

func TestStateInUse(t *testing.T) {
	s := settings(t.TempDir())
	_, stop := runUp(t, s, nil)
	defer stop()
	err := Run(t.Context(), Options{Settings: s, Out: console.New(io.Discard, nil)})
	require.ErrorContains(t, err, "Another waylumed runs on "+s.State)
	require.ErrorContains(t, err, "--state")
}

func TestPortInUse(t *testing.T) {
	c, err := net.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer c.Close()
	s := settings(t.TempDir())
	s.ListenPort = c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	err = Run(t.Context(), Options{Settings: s, Out: console.New(io.Discard, nil)})
	require.ErrorContains(t, err, fmt.Sprintf("Another program uses UDP port %d", s.ListenPort))
	require.ErrorContains(t, err, "--listen-port")

	s.ListenPort = 0
	_, stop := runUp(t, s, nil) // nothing was left behind
	stop()
}

func TestStateIsNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, state := range []string{file, filepath.Join(file, "below")} {
		err := Run(t.Context(), Options{Settings: settings(state), Out: console.New(io.Discard, nil)})
		require.ErrorContains(t, err, "is not a directory: name one with --state")
	}
	require.ErrorContains(t, host.Choice{}.StartError(names(), os.ErrPermission, 53), "choose one of 1024 or more")
}

func TestBadSettings(t *testing.T) {
	s := Default()
	s.State, s.PeerName, s.Speed, s.Download, s.Upload = "", strings.Repeat("x", 200), "fast", "3bit", "99tbit"
	s.Cap, s.CapPeriod, s.AccountCap, s.DNS, s.Endpoint = "5G", "yearly", "1TiB", []string{"1.1.1.1", "resolver"}, "host:99999"
	_, err := s.plan()
	var invalid *SettingsError
	require.ErrorAs(t, err, &invalid)
	for _, flag := range []string{"state", "peer-name", "speed", "download", "upload", "cap", "cap-period", "account", "dns", "endpoint"} {
		require.Contains(t, strings.Join(invalid.Problems, "\n"), "--"+flag+": ")
	}
	require.Len(t, invalid.Problems, 10)
	require.ErrorContains(t, err, "10 things are wrong:\n  --state: ")

	s = settings("x")
	s.DNS = []string{"none"}
	p, err := s.plan()
	require.NoError(t, err)
	require.NotNil(t, p.node.DNS)
	require.Empty(t, p.node.DNS)
}

func TestWrap(t *testing.T) {
	require.Equal(t, "one two\nthree\nfour", wrap("one two three four", 8))
}

func TestAmount(t *testing.T) {
	require.Equal(t, "1023 B", amount(1023))
	require.Equal(t, "1.5 KiB", amount(1536))
	require.Equal(t, "16.0 EiB", amount(1<<64-1))
}
