package eventstream

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// The names are an interface: none may change.
func TestSchema(t *testing.T) {
	require.Equal(t, []Kind{
		"node_started", "node_closed", "node_changed", "node_rekeyed", "peer_added", "peer_changed", "peer_removed", "peer_suspended",
		"peer_resumed", "peer_expired", "peer_rekeyed", "peer_moved", "account_added", "account_changed", "account_removed",
		"account_suspended", "account_resumed", "usage_threshold", "cap_reached", "period_started", "repaired", "sync_failed",
		"checkpoint_failed", "problem_began", "problem_over", "usage_log_failed", "key_overlap_ended",
	}, Kinds()[:27])

	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	usage := quota.Usage{Used: 1, Limit: 3, Remaining: 2, Depleted: true, PeriodStart: at, PeriodEnd: at}
	e := eventOf(wgnode.Event{
		Sequence: 7, Time: at, Kind: wgnode.PeerRemoved, Peer: wgtypes.Key{1}, Account: "a", FormerPeer: wgtypes.Key{2},
		FormerAccount: "b",
		NodeKey:       wgtypes.Key{3}, FormerNodeKey: wgtypes.Key{4}, OverlapEnds: at, Reason: wgnode.RemovalIdle, Percent: 80, Usage: usage,
		Ended: quota.Usage{Used: 9}, Counters: quota.Counters{Download: 5, Upload: 6}, Detail: "speed limit", Err: errors.New("broken"),
		Problem: wgnode.HealthProblem{Kind: wgnode.UsageLogFailing, What: "it fails", Since: at}, Count: 8,
	}, "boot")
	got, err := json.Marshal(e)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"kind": "peer_removed", "boot": "boot", "sequence": 7, "time": "2026-01-02T02:04:05.000006Z",
		"peer": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "account": "a",
		"former_peer": "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "former_account": "b",
		"node_key": "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "former_node_key": "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"overlap_ends": "2026-01-02T02:04:05.000006Z", "reason": "idle", "percent": 80,
		"usage": {"used_bytes": 1, "limit_bytes": 3, "remaining_bytes": 2, "depleted": true,
			"period_start": "2026-01-02T02:04:05.000006Z", "period_end": "2026-01-02T02:04:05.000006Z"},
		"ended": {"used_bytes": 9}, "transferred": {"download_bytes": 5, "upload_bytes": 6}, "detail": "speed limit", "error": "broken",
		"problem": {"kind": "usage_log_failing", "area": "usage_log", "what": "it fails",
			"since": "2026-01-02T02:04:05.000006Z"}, "count": 8
	}`, string(got))
	var back Event
	require.NoError(t, json.Unmarshal(got, &back))
	require.Equal(t, e, back)

	got, err = json.Marshal(eventOf(wgnode.Event{Sequence: 1, Time: at, Kind: wgnode.NodeStarted}, "boot"))
	require.NoError(t, err)
	require.JSONEq(t, `{"kind": "node_started", "boot": "boot", "sequence": 1, "time": "2026-01-02T02:04:05.000006Z"}`, string(got))
}
