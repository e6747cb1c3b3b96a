package status

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is a node on a dataplane in memory.
func started(t *testing.T) (*wgnode.Node, *wgnodetest.Dataplane) {
	t.Helper()
	dp := wgnodetest.NewDataplane()
	node, err := wgnode.New(wgnode.Config{Dataplane: dp, Endpoint: "vpn.example.com"})
	require.NoError(t, err)
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	return node, dp
}

func shown(r Report) string {
	var out bytes.Buffer
	Show(console.New(&out, nil), r)
	return out.String()
}

func TestReport(t *testing.T) {
	node, dp := started(t)
	phone, err := node.AddPeer(t.Context(), wgnode.PeerSpec{Name: "phone"})
	require.NoError(t, err)
	_, err = node.AddPeer(t.Context(), wgnode.PeerSpec{Name: "tablet"})
	require.NoError(t, err)
	r, err := Of(t.Context(), node)
	require.NoError(t, err)
	require.Empty(t, r.Problems)
	require.Contains(t, shown(r), "✓ Nothing is known to be wrong.")
	require.Contains(t, shown(r), "unknown", "nobody looked yet")

	dp.SetHandshake(phone.PublicKey, time.Now(), netip.MustParseAddrPort("192.0.2.1:7"))
	dp.SetProblems(wgnode.HealthProblem{Kind: wgnode.UplinkDown, What: "eth9 is down: set it up"})
	_, err = node.Sync(t.Context()) // after which the node looks around
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		r, err = Of(t.Context(), node)
		return err == nil && len(r.Problems) > 0
	}, 30*time.Second, 10*time.Millisecond)
	var written bytes.Buffer
	require.NoError(t, r.WriteJSON(&written))
	require.NotContains(t, written.String(), "null")
	again, err := Read(written.Bytes())
	require.NoError(t, err)
	require.Equal(t, shown(r), shown(again))
	text := shown(again)
	require.Regexp(t, `✗ forwarding, since \d{4}-.*: eth9 is down: set it up`, text)
	require.Regexp(t, `│ phone +│ +│ idle +│ \d+s ago +│ 192.0.2.1:7 │ +0 │`, text)
	require.Regexp(t, `│ tablet +│ +│ never connected +│ none +│ +│ +0 │`, text)
	require.Equal(t, "uplink-down", again.Problems[0].Kind)
	require.Equal(t, "idle", again.Peers[0].State)

	require.NoError(t, node.Close())
	_, err = Of(t.Context(), node)
	require.ErrorIs(t, err, wgnode.ErrClosed)
	require.ErrorContains(t, err, "the node is closed")
	_, err = Read([]byte(`{"schema":"waylume.status/2"}`))
	require.ErrorContains(t, err, "use the node's own waylumed")
	_, err = Read([]byte(`{`))
	require.ErrorContains(t, err, "cannot be read")
}

// TestKeyOverlap shows who knows the node by its former key.
func TestKeyOverlap(t *testing.T) {
	node, dp := started(t)
	for _, name := range []string{"phone", "tablet"} {
		p, err := node.AddPeer(t.Context(), wgnode.PeerSpec{Name: name})
		require.NoError(t, err)
		if name == "phone" {
			dp.SetHandshake(p.PublicKey, time.Now(), netip.MustParseAddrPort("192.0.2.1:7"))
		}
	}
	r, err := Of(t.Context(), node)
	require.NoError(t, err)
	require.Nil(t, r.Overlap)
	rotated, err := node.RotateKey(t.Context(), wgnode.KeyRotation{Overlap: time.Hour})
	require.NoError(t, err)
	r, err = Of(t.Context(), node)
	require.NoError(t, err)
	text := shown(r)
	require.Contains(t, text, rotated.FormerKey.String()+" until "+rotated.OverlapEnds.Local().Format(time.DateTime)+": no peer's last")
	require.Eventually(t, func() bool {
		r, err = Of(t.Context(), node)
		return err == nil && r.Overlap.Peers > 0
	}, 30*time.Second, 10*time.Millisecond)
	text = shown(r)
	require.Contains(t, text, ": the last handshake of 1 of 2 peers was with it")
	require.Regexp(t, `│ phone +│ +│ idle +│ \d+s ago, former key +│`, text)
	require.Equal(t, []bool{true, false}, []bool{r.Peers[0].FormerKey, r.Peers[1].FormerKey})
}

func TestManyPeers(t *testing.T) {
	r := Report{Schema: Schema, State: "running"}
	slow, fast, loss := uint64(1_500), uint64(2_500_000_000), 0.25
	for i := range maxShown + 7 {
		r.Peers = append(r.Peers, Peer{Name: fmt.Sprint("peer-", i), State: "online", DownloadBPS: &fast, UploadBPS: &slow, HandshakeLoss: &loss})
	}
	text := shown(r)
	require.Contains(t, text, "And 7 more: --json has all.")
	require.Equal(t, maxShown, strings.Count(text, "2.5 Gbit/s │ 1.5 kbit/s │ 25 %"))
}
