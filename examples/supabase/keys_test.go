package supabase_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
)

// Nodes learn of a key that is to sign, or does not any more, within an interval.
func TestHeartbeatsAreAnsweredWithTheControlKeys(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	type set = map[string]any
	keys, _ := n.say("/node-heartbeat", n.heartbeat(1)).body["control_keys"].(set)
	require.Len(t, keys["keys"], 1)
	key, _ := keys["keys"].([]any)[0].(set)
	require.Equal(t, edge.KeyID, key["kid"])

	// Functions that have no keys to tell of take heartbeats all the same.
	other := fleetAt(t, f.db.Config().ConnString(), edge.Config{Env: map[string]string{"WAYLUME_CONTROL_KEYS": "{"}})
	n.f = other
	a := n.say("/node-heartbeat", n.heartbeat(2))
	require.NotContains(t, a.body, "control_keys")
	require.Contains(t, a.body, "now")
}
