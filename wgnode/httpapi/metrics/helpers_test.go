package metrics_test

import (
	"bytes"
	"flag"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestMain(m *testing.M) {
	flag.Bool("write", false, "write the table of docs/metrics.md")
	goleak.VerifyTestMain(m)
}

// start runs a node on a dataplane in memory.
func start(t testing.TB, adjust ...func(*wgnode.Config)) (*wgnode.Node, *wgnodetest.Dataplane) {
	t.Helper()
	dp := wgnodetest.NewDataplane()
	cfg := wgnode.Config{Dataplane: dp}
	for _, f := range adjust {
		f(&cfg)
	}
	node, err := wgnode.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { node.Close() })
	require.NoError(t, node.Start(t.Context()))
	return node, dp
}

// send has a peer send a datagram to the internet, and waits until it came out.
func send(t testing.TB, dp *wgnodetest.Dataplane, p wgnode.AddedPeer, payload int) {
	t.Helper()
	from, to := netip.AddrPortFrom(p.Addrs[0], 5000), netip.MustParseAddrPort("192.0.2.1:53")
	dp.Peer(p.PublicKey).Send(wgnodetest.UDPPacket(from, to, make([]byte, payload)))
	_, err := dp.Internet().Receive(t.Context())
	require.NoError(t, err)
}

// gather returns the samples of a collector, by name and labels as they are in the text format.
func gather(t testing.TB, cs ...prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(cs...)
	families, err := registry.Gather()
	require.NoError(t, err)
	samples := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for i, l := range m.GetLabel() {
				name += []string{"{", ","}[min(i, 1)] + l.GetName() + "=" + l.GetValue()
			}
			if len(m.GetLabel()) > 0 {
				name += "}"
			}
			switch {
			case m.GetCounter() != nil:
				samples[name] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				samples[name] = m.GetGauge().GetValue()
			default:
				samples[name] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return samples
}

// text is what a collector looks like in the text format.
func text(t testing.TB, cs ...prometheus.Collector) []byte {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(cs...)
	families, err := registry.Gather()
	require.NoError(t, err)
	var b bytes.Buffer
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&b, f)
		require.NoError(t, err)
	}
	return b.Bytes()
}
