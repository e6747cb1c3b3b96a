package tracing_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/tracing"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// BenchmarkAddPeer adds a peer and removes it again: without tracing, with traces that are left out, and with traces that are kept.
func BenchmarkAddPeer(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Cleanup(collector.Close)
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(b, err)
	spec := wgnode.PeerSpec{PublicKey: private.PublicKey()}
	for _, opts := range []tracing.Options{{}, {Endpoint: collector.URL}, {Endpoint: collector.URL, Ratio: 1}} {
		b.Run(fmt.Sprintf("on=%t/ratio=%v", opts.Endpoint != "", opts.Ratio), func(b *testing.B) {
			traces, err := tracing.Setup(b.Context(), opts)
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, traces.Shutdown(context.WithoutCancel(b.Context()))) })
			node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane(), Tracer: traces.Tracer()})
			require.NoError(b, err)
			b.Cleanup(func() { node.Close() })
			require.NoError(b, node.Start(b.Context()))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := node.AddPeer(b.Context(), spec); err != nil {
					b.Fatal(err)
				}
				if err := node.RemovePeer(b.Context(), spec.PublicKey); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
