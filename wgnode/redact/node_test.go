package redact_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/redact"
	"github.com/waylume/waylume/wgnode/userspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lockedBuffer holds a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// busy is a node with all that is done to it, and what nobody is to find in its log, by kind.
type busy struct {
	t       *testing.T
	log     *slog.Logger
	node    *wgnode.Node
	secrets map[string][]string
}

func (b *busy) secret(kind string, words ...string) {
	b.secrets[kind] = append(b.secrets[kind], words...)
}

// did logs what an API would of an operation, with its error.
func (b *busy) did(what string, err error, args ...any) {
	if err != nil {
		b.log.Warn("refused", append([]any{"operation", what, "error", err}, args...)...)
		return
	}
	b.log.Info("done", append([]any{"operation", what}, args...)...)
}

func (b *busy) add(spec wgnode.PeerSpec) wgnode.AddedPeer {
	b.t.Helper()
	added, err := b.node.AddPeer(b.t.Context(), spec)
	require.NoError(b.t, err)
	b.did("add peer", nil, "peer", added.PublicKey, "account", spec.Account, "name", spec.Name, "addresses", added.Addrs, "spec", spec)
	b.secret("key", added.PublicKey.String(), added.PrivateKey.String(), spec.PresharedKey.String())
	for _, a := range added.Addrs {
		b.secret("address", a.String())
	}
	return added
}

// browse connects a real client and has it fetch something over both families.
func (b *busy) browse(peer wgnode.AddedPeer) {
	b.t.Helper()
	cfg, err := b.node.ClientConfig(peer.PublicKey, peer.PrivateKey)
	require.NoError(b.t, err)
	tun, stack, err := clienttun.Create(cfg.Addrs, nil, cfg.MTU)
	require.NoError(b.t, err)
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	defer dev.Close()
	require.NoError(b.t, dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\nendpoint=%s\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n",
		hex.EncodeToString(peer.PrivateKey[:]), hex.EncodeToString(cfg.ServerKey[:]), hex.EncodeToString(cfg.PresharedKey[:]), cfg.Endpoint)))
	require.NoError(b.t, dev.Up())
	for _, to := range []string{"192.0.2.80:80", "[2001:db8::80]:80"} {
		c, err := stack.DialContext(b.t.Context(), "tcp", to)
		require.NoError(b.t, err)
		body, err := io.ReadAll(c)
		require.NoError(b.t, err)
		require.Equal(b.t, "hello", string(body))
		require.NoError(b.t, c.Close())
		b.did("connection", nil, "from", c.LocalAddr(), "to", c.RemoteAddr())
	}
	q, err := b.node.PeerQuality(peer.PublicKey)
	b.did("quality", err, "quality", q)
}

// run does all there is to do, and logs every event and every error.
func (b *busy) run() {
	t, ctx := b.t, b.t.Context()
	b.secret("account", "family-4711", "office of Müller & Söhne", "nobody-there")
	b.secret("name", "grandma-phone", `the "big" laptop`)
	b.secret("address", "192.0.2.80", "2001:db8::80", "198.51.100.99", "127.0.0.1")
	psk, err := wgtypes.GenerateKey()
	require.NoError(t, err)
	for _, id := range b.secrets["account"][:2] {
		_, err := b.node.PutAccount(ctx, wgnode.AccountSpec{ID: id, DataCap: quota.Cap{Bytes: 1 << 30}})
		b.did("put account", err, "account", id)
		require.NoError(t, err)
	}
	phone := b.add(wgnode.PeerSpec{Name: "grandma-phone", Account: "family-4711", PresharedKey: psk, Labels: map[string]string{"owner": "family-4711"}})
	laptop := b.add(wgnode.PeerSpec{Name: `the "big" laptop`, SpeedLimit: shaping.Limit{Download: 50_000_000, Upload: 50_000_000}})
	brief := b.add(wgnode.PeerSpec{ExpiresAt: time.Now().Add(time.Second), GracePeriod: time.Second})
	b.browse(phone)
	b.browse(laptop)

	_, err = b.node.AddPeer(ctx, wgnode.PeerSpec{Account: "nobody-there", Addrs: []netip.Addr{netip.MustParseAddr("198.51.100.99")}})
	require.Error(t, err)
	b.did("add peer", err)
	_, err = b.node.AddPeer(ctx, wgnode.PeerSpec{Addrs: phone.Addrs})
	require.Error(t, err)
	b.did("add peer", err)
	_, err = b.node.AddPeers(ctx, []wgnode.PeerSpec{{Name: "a\x00"}, {Addrs: laptop.Addrs}})
	require.Error(t, err)
	b.did("add peers", err)
	family, office := wgnode.OfAccount("family-4711"), wgnode.OfAccount("office of Müller & Söhne")
	b.did("limit", b.node.SetSpeedLimit(ctx, family, shaping.Limit{Download: 10_000_000}), "subject", family)
	b.did("cap", b.node.SetDataCap(ctx, wgnode.OfPeer(phone.PublicKey), quota.Cap{Bytes: 1 << 20}), "subject", wgnode.OfPeer(phone.PublicKey))
	b.did("suspend", b.node.Suspend(ctx, family), "subject", family)
	b.did("resume", b.node.Resume(ctx, family), "subject", family)
	b.did("resume", b.node.Resume(ctx, wgnode.OfAccount("nobody-there")))
	b.did("move", b.node.MovePeer(ctx, laptop.PublicKey, "office of Müller & Söhne"), "subject", office)
	b.did("move", b.node.MovePeer(ctx, laptop.PublicKey, "nobody-there"))
	rekeyed, err := b.node.RekeyPeer(ctx, laptop.PublicKey, wgnode.PeerKeys{})
	require.NoError(t, err)
	b.secret("key", rekeyed.PublicKey.String(), rekeyed.PrivateKey.String())
	b.did("rekey", nil, "peer", rekeyed.PublicKey, "former", laptop.PublicKey)
	rotated, err := b.node.RotateKey(ctx, wgnode.KeyRotation{Overlap: time.Hour})
	require.NoError(t, err)
	b.secret("key", rotated.PublicKey.String(), rotated.FormerKey.String())
	b.did("end overlap", b.node.EndKeyOverlap(ctx))
	_, err = b.node.Sync(ctx)
	require.NoError(t, err)
	status, err := b.node.Status(ctx)
	require.NoError(t, err)
	b.did("status", nil, "status", status, "peers", fmt.Sprint(status))
	b.did("remove", b.node.RemoveAccount(ctx, "family-4711"), "account", "family-4711")
	b.did("remove", b.node.RemovePeer(ctx, phone.PublicKey))
	b.did("remove", b.node.RemovePeer(ctx, phone.PublicKey))
	b.did("remove", b.node.RemoveAccountAndPeers(ctx, "office of Müller & Söhne"))
	require.Eventually(t, func() bool {
		_, err := b.node.Peer(brief.PublicKey)
		return errors.Is(err, wgnode.ErrNotFound)
	}, 20*time.Second, 10*time.Millisecond)
}

// TestBusyNode has a node at work for real clients at debug level, and searches its whole log for every key, address, account
// and name there was.
func TestBusyNode(t *testing.T) {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	})
	defer serving.Wait()
	defer web.Close()
	for _, mode := range []redact.Mode{redact.Off, redact.Partial, redact.Strict} {
		t.Run(mode.String(), func(t *testing.T) {
			var out lockedBuffer
			r := redact.New(mode, redact.Options{})
			log := slog.New(r.Handler(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
			dp, err := userspace.New(userspace.Config{Dial: func(ctx context.Context, flow userspace.Flow) (net.Conn, error) {
				log.Debug("dial", "flow", flow)
				var d net.Dialer
				return d.DialContext(ctx, "tcp", web.Addr().String())
			}})
			require.NoError(t, err)
			node, err := wgnode.New(wgnode.Config{Dataplane: dp, Endpoint: "127.0.0.1", Logger: log, Store: wgnode.NewMemoryStore()})
			require.NoError(t, err)
			events := node.Subscribe()
			require.NoError(t, node.Start(t.Context()))
			b := &busy{t: t, log: log, node: node, secrets: make(map[string][]string)}
			b.run()
			require.NoError(t, node.Close())
			seen := 0
			for e := range events.All(t.Context()) {
				seen++
				log.Info("event", "event", e)
				log.Info(e.String())
			}
			require.Greater(t, seen, 15)
			text := out.String()
			require.Greater(t, strings.Count(text, "\n"), 60)
			for kind, words := range b.secrets {
				appear := 0
				for _, word := range words {
					for _, spelled := range []string{word, strings.ReplaceAll(word, `"`, `\"`), strings.ReplaceAll(word, `&`, `\u0026`)} {
						if word != zeroKey && strings.Contains(text, spelled) {
							appear++
							if mode == redact.Strict {
								at := strings.Index(text, spelled)
								t.Errorf("%s %q appears: %s", kind, word, text[max(0, at-200):min(len(text), at+100)])
							}
							break
						}
					}
				}
				t.Logf("%s: %d of %d appear", kind, appear, len(words))
				switch {
				case mode == redact.Off:
					require.NotZero(t, appear, kind)
				case kind == "key" || kind == "address":
					require.Zero(t, appear, kind)
				}
			}
		})
	}
}

// zeroKey is no secret: it stands for none.
const zeroKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
