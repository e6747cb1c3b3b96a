package demo

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newStage is a stage with its cast, under a policy.
func newStage(t *testing.T, policy isolation.Policy) *stage {
	t.Helper()
	l, err := newLab(t.Context(), nil, policy)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.close()) })
	c, err := assemble(t.Context(), l)
	require.NoError(t, err)
	t.Cleanup(c.close)
	return &stage{lab: l, cast: c, report: &Report{}, progress: silent{}}
}

// A demonstration that cannot fail shows nothing: with a policy that opens everything the probes get through, and say so.
func TestProbesSeeAnOpenNode(t *testing.T) {
	s := newStage(t, isolation.Policy{Allow: []isolation.Rule{{Name: "everything"}}})
	require.NoError(t, s.probe(t.Context()))
	for _, row := range s.report.Probes {
		if row.From == "rogue" || row.Expected == reached {
			require.True(t, row.OK, "%+v", row) // no rule opens a spoofed source
			continue
		}
		require.False(t, row.OK, "%+v", row)
		// The client's stack takes no answer from a loopback address; that the server there saw it is enough.
		require.True(t, row.Got == reached || row.TargetSaw > 0, "%+v", row)
		require.NotEmpty(t, row.Problems)
		require.Equal(t, chances, row.Attempts)
	}
}

func TestDownloadSeesAWrongLimit(t *testing.T) {
	s := newStage(t, isolation.Policy{})
	laptop := s.cast.speeds[0]
	require.NoError(t, s.lab.node.SetSpeedLimit(t.Context(), wgnode.OfPeer(laptop.client.peer.PublicKey),
		shaping.Limit{Download: laptop.limit.Download / 2}))
	var row loaded
	require.NoError(t, laptop.download(t.Context(), &row))
	require.NotEmpty(t, row.Problems)
	require.Contains(t, row.Problems[0], "12.00 Mbit/s is configured")
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	_, err := Run(ctx, Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestCapJudge(t *testing.T) {
	for name, c := range map[string]struct {
		row  Cap
		over uint64
		want string
	}{
		"exact":       {row: Cap{CapBytes: 5000, NodeBytes: 5000, WitnessBytes: 5000}},
		"a packet":    {row: Cap{CapBytes: 5000, NodeBytes: 3581, WitnessBytes: 3581}},
		"too early":   {row: Cap{CapBytes: 5000, NodeBytes: 3580, WitnessBytes: 3580}, want: "were left"},
		"too late":    {row: Cap{CapBytes: 5000, NodeBytes: 5001, WitnessBytes: 5001}, over: 1, want: "1 bytes passed beyond"},
		"uncounted":   {row: Cap{CapBytes: 5000, NodeBytes: 5000, WitnessBytes: 6000}, over: 1000, want: "1000 bytes passed beyond"},
		"lost":        {row: Cap{CapBytes: 5000, NodeBytes: 5000, WitnessBytes: 4000}, want: "the client 4000"},
		"not cut off": {row: Cap{CapBytes: 5000, NodeBytes: 5000, WitnessBytes: 5000, AfterBytes: 60}, want: "60 bytes passed after"},
	} {
		t.Run(name, func(t *testing.T) {
			c.row.judge()
			require.Equal(t, c.over, c.row.OvershootBytes)
			if c.want == "" {
				require.Empty(t, c.row.Problems)
				return
			}
			require.Contains(t, strings.Join(c.row.Problems, "\n"), c.want)
		})
	}
}

func TestProbeJudge(t *testing.T) {
	blockedProbe := probe{want: blocked, reason: isolation.ReasonPrivate}
	for name, c := range map[string]struct {
		probe  probe
		row    Probe
		answer error
		want   string
		ok     bool
	}{
		"blocked":             {blockedProbe, Probe{PacketsSent: 2, DropsCounted: 2}, context.DeadlineExceeded, blocked, true},
		"nothing sent":        {blockedProbe, Probe{DropsCounted: 2}, context.DeadlineExceeded, unclear, false},
		"target saw it":       {blockedProbe, Probe{PacketsSent: 2, DropsCounted: 2, TargetSaw: 1}, context.DeadlineExceeded, unclear, false},
		"dialer was asked":    {blockedProbe, Probe{PacketsSent: 2, DropsCounted: 2, DialsAsked: 1}, context.DeadlineExceeded, unclear, false},
		"not counted":         {blockedProbe, Probe{PacketsSent: 2}, context.DeadlineExceeded, unclear, false},
		"refused, not mute":   {blockedProbe, Probe{PacketsSent: 2, DropsCounted: 2}, context.Canceled, unclear, false},
		"answered":            {blockedProbe, Probe{PacketsSent: 2, TargetSaw: 1, DialsAsked: 1}, nil, reached, false},
		"reached":             {probe{want: reached}, Probe{PacketsSent: 1, TargetSaw: 1, DialsAsked: 1}, nil, reached, true},
		"reached who?":        {probe{want: reached}, Probe{PacketsSent: 1}, nil, unclear, false},
		"open but it is mute": {probe{want: reached}, Probe{PacketsSent: 1}, context.DeadlineExceeded, blocked, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.row.Expected = c.probe.want
			c.probe.judge(&c.row, c.answer)
			require.Equal(t, c.want, c.row.Got)
			require.Equal(t, c.ok, len(c.row.Problems) == 0)
		})
	}
}

func TestAttempt(t *testing.T) {
	calls, whys := 0, 0
	again := func(problems []string) {
		whys++
		require.NotEmpty(t, problems)
	}
	once := retries{alone: new(sync.RWMutex), again: again}
	row, err := attempt(t.Context(), once, func(_ context.Context, row *Cap) error {
		calls++
		row.expect(calls == 2, "not yet")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, Verdict{OK: true, Attempts: 2}, row.Verdict)
	require.Equal(t, 1, whys)

	row, err = attempt(t.Context(), once, func(context.Context, *Cap) error { return context.DeadlineExceeded })
	require.NoError(t, err)
	require.False(t, row.OK)
	require.Equal(t, chances, row.Attempts)
	require.Equal(t, []string{"could not be measured: context deadline exceeded"}, row.Problems)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = attempt(ctx, once, func(context.Context, *Cap) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
}

func TestRTT(t *testing.T) {
	var trips []time.Duration
	for ms := range 100 {
		trips = append(trips, time.Duration(100-ms)*time.Millisecond)
	}
	require.Equal(t, RTT{Sent: 101, Lost: 1, MedianMS: 51, P95MS: 95}, newRTT(trips, 101))
	require.Equal(t, RTT{Sent: 3, Lost: 3}, newRTT(nil, 3))
}

func TestRate(t *testing.T) {
	r := newRate(8_000_000, 1_060_000, 1_000_000, time.Second)
	require.Equal(t, uint64(8_480_000), r.MeasuredBPS)
	require.Equal(t, uint64(8_000_000), r.GoodputBPS)
	require.InDelta(t, 6.0, r.ErrorPercent, 1e-9)
	var v Verdict
	v.within("download", r, 6)
	require.Empty(t, v.Problems)
	v.within("download", r, 5)
	require.Len(t, v.Problems, 1)
}

// The names of the JSON form stay under Schema: a change to this list needs another one.
func TestFieldNames(t *testing.T) {
	full := Report{
		Speeds: []Speed{{}}, Shared: []SharedLimit{{Shares: []Share{{}}}}, Caps: []Cap{{}}, Throttles: []Throttle{{}},
		Probes: []Probe{{Source: "x", DropReason: "x", Verdict: Verdict{Problems: []string{"x"}}}},
	}
	text, err := json.Marshal(full)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(text, &fields))
	names := map[string]bool{}
	collect(fields, "", names)
	for name := range strings.FieldsSeq(`
		schema ok started_at duration_ms node.dataplane node.listen_port node.mtu_bytes node.limitations
		speeds.peer speeds.account speeds.transport speeds.family speeds.ok speeds.attempts
		speeds.download.configured_bps speeds.download.measured_bps speeds.download.goodput_bps speeds.download.error_percent
		speeds.upload.configured_bps speeds.idle_rtt.sent speeds.idle_rtt.lost speeds.idle_rtt.median_ms speeds.idle_rtt.p95_ms
		speeds.loaded_rtt.median_ms account_limits.account account_limits.download.measured_bps account_limits.shares.peer
		account_limits.shares.streams account_limits.shares.configured_bps account_limits.shares.measured_bps account_limits.ok
		data_caps.peer data_caps.cap_bytes data_caps.node_bytes data_caps.witness_bytes data_caps.overshoot_bytes
		data_caps.unused_bytes data_caps.after_bytes data_caps.ok throttles.peer throttles.cap_bytes
		throttles.before.measured_bps throttles.after.measured_bps throttles.ok
		isolation.name isolation.from isolation.source isolation.target isolation.expected isolation.got isolation.evidence
		isolation.packets_sent isolation.dials_asked isolation.target_saw isolation.drop_reason isolation.drops_counted
		isolation.ok isolation.attempts isolation.problems`) {
		require.True(t, names[name], "no field %s", name)
	}
}

func collect(v any, path string, names map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			collect(field, strings.TrimPrefix(path+"."+name, "."), names)
		}
	case []any:
		for _, field := range v {
			collect(field, path, names)
		}
	}
	names[path] = true
}

func TestWrite(t *testing.T) {
	r := Report{
		DurationMS: 15_200,
		Caps:       []Cap{{Peer: "capped", CapBytes: 1_234_567, NodeBytes: 1_234_568, OvershootBytes: 1, Verdict: Verdict{Attempts: 3, Problems: []string{"1 bytes passed beyond the cap"}}}},
		Speeds:     []Speed{{Peer: "laptop", Transport: "tcp", Family: "ipv6", Download: newRate(20_000_000, 2_500_000, 0, time.Second), Verdict: Verdict{OK: true, Attempts: 1}}},
	}
	var out strings.Builder
	require.NoError(t, r.Write(console.New(&out, nil)))
	text := out.String()
	require.Contains(t, text, "│ 1,234,567 │")
	require.Contains(t, text, "TCP, IPv6")
	require.Contains(t, text, "20.00")
	require.Contains(t, text, "capped: 1 bytes passed beyond the cap")
	require.Contains(t, text, "✗ 1 of 2 rows hold, after 15.2 s. 1 measured more than once")
	require.NotContains(t, text, "\x1b", "colours are for terminals")
}
