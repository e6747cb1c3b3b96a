package daemon

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

// TestLogStrict: what the daemon says of itself can be read where addresses, keys and accounts must not be.
func TestLogStrict(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLog(&out, config.Log{Format: config.JSON, Redaction: config.Strict})
	require.NoError(t, err)
	log.Logger.Info("gave up privileges", "left", "only CAP_NET_ADMIN, and no way to new privileges")
	log.Logger.Info("the API is served", servedAt, "tcp:[::]:8443")
	log.Logger.Info("took over a setting", "setting", "node.control_allow", "old", "none", "new", "192.0.2.0/24", "why", "signal")
	for _, text := range []string{"only CAP_NET_ADMIN", "tcp:[::]:8443", "node.control_allow", `"old":"none"`, `"why":"signal"`} {
		require.Contains(t, out.String(), text)
	}
	require.NotContains(t, out.String(), "192.0.2")
}
