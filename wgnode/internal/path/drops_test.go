package path

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

// Each reason has a series of its own.
func TestReasonsAreMeasured(t *testing.T) {
	known := metrics.DropReasons()
	for reason := range numDrops {
		require.Contains(t, known, strings.ReplaceAll(reason.String(), " ", "-"))
	}
}
