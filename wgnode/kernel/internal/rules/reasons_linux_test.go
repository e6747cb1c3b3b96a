package rules_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/metrics"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// Each reason has a series of its own.
func TestReasonsAreMeasured(t *testing.T) {
	known := metrics.DropReasons()
	for _, reason := range rules.DropReasons() {
		require.Contains(t, known, strings.ReplaceAll(reason, " ", "-"))
	}
}
