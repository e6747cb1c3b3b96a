package tracing_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/httpapi/tracing"
	"github.com/waylume/waylume/wgnode/kernel"
)

// One request is one trace, down to each transaction with the kernel.
func TestRequestToKernel(t *testing.T) {
	netns.Require(t)
	c := newCollector(t)
	dp, err := kernel.New(kernel.Config{Driver: kernel.DriverTUN})
	require.NoError(t, err)
	a := newAPI(t, dp, tracing.Options{Endpoint: c.URL, Ratio: 1})
	require.Equal(t, http.StatusCreated, a.post(t, "/api/v1/peers"))
	a.finish(t)()
	require.Contains(t, c.trees(t), "POST /api/v1/peers\n  add peer\n    write to store\n    apply to dataplane\n"+
		"      htb class\n      nftables transaction\n      wireguard configuration\n")
}
