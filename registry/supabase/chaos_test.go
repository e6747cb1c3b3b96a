package supabase

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/chaos"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/supabase/supabasetest"
)

// behind returns a proxy to a server, and the base URL through it.
func (f *front) behind(t *testing.T) (*chaos.Proxy, string) {
	t.Helper()
	p := chaos.New(t, f.server.Listener.Addr().String())
	return p, "https://" + p.Addr() + prefix
}

// impatient is a configuration with time-outs that a test can wait for.
func impatient(cfg Config, urls ...string) Config {
	cfg.URLs = urls
	cfg.ConnectTimeout, cfg.HeaderTimeout, cfg.Timeout = 3*time.Second, 3*time.Second, 3*time.Second
	return cfg
}

// Whatever happens on the way, a call has an answer of the fleet's or is one that may be tried again; as soon as the way is free the
// next call is answered, also over a connection that was there before.
func TestChaosOneURL(t *testing.T) {
	for name, faults := range map[string]chaos.Faults{
		"refused":                  {Refuse: true},
		"silent":                   {Silent: true},
		"half-open to the fleet":   {Silent: true, Direction: chaos.ToServer},
		"half-open from the fleet": {Silent: true, Direction: chaos.ToClient},
		"reset at once":            {Reset: 1},
		"reset in the handshake":   {Reset: 700},
		"reset in the answer":      {Reset: 4000},
		"garbled":                  {Garble: 900},
		"garbled answers":          {Garble: 300, Direction: chaos.ToClient},
		"garbled requests":         {Garble: 300, Direction: chaos.ToServer},
		"too slow":                 {Delay: 5 * time.Second},
	} {
		for _, warm := range []string{"with a connection", "without"} {
			t.Run(name+" "+warm, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				s := newSite(t)
				proxy, url := s.behind(t)
				n := s.node(impatient(s.config(), url))
				if warm == "without" {
					proxy.Sever()
				}
				proxy.Set(faults)
				failed := 0
				for tries := 0; failed == 0 && tries < 3; tries++ {
					if err := n.beat(t.Context()); err != nil {
						require.ErrorIs(t, err, registry.ErrUnavailable)
						failed++
					}
				}
				switch {
				case faults.Refuse && warm != "without": // what is connected stays
					require.Zero(t, failed)
				case faults.Reset != 4000: // which may be enough for a whole heartbeat
					require.NotZero(t, failed)
				}
				proxy.Set(chaos.Faults{})
				require.NoError(t, n.beat(t.Context()))
			})
		}
	}
}

// A URL behind which nothing moves costs a call its time-out, and the next one nothing.
func TestChaosFailover(t *testing.T) {
	for _, faults := range []chaos.Faults{
		{Silent: true}, {Silent: true, Direction: chaos.ToClient}, {Refuse: true}, {Reset: 1}, {Garble: 100}, {Delay: 5 * time.Second},
	} {
		s := newSite(t)
		proxy, url := s.behind(t)
		second := s.newFront()
		n := s.node(impatient(s.config(), url, second.url()))
		proxy.Set(faults)
		if faults.Refuse { // what is connected stays
			proxy.Sever()
		}
		for range 3 {
			require.NoError(t, n.beat(t.Context()))
		}
		require.EqualValues(t, 3, second.asked.Load())

		proxy.Set(chaos.Faults{})
		s.clock.Advance(6 * time.Minute)
		before := s.asked.Load()
		require.NoError(t, n.beat(t.Context()))
		require.Greater(t, s.asked.Load(), before)
		require.EqualValues(t, 3, second.asked.Load())
	}
}

// However an enrollment and a rotation are cut off, the same call finishes them.
func TestChaosEnrollAndRotate(t *testing.T) {
	const points, apart = 16, 550 // bytes: from the first of a handshake to beyond the answer
	for i := range int64(points) {
		s := newSite(t)
		proxy, url := s.behind(t)
		cfg := impatient(s.config(), url)
		enrollment := EnrollConfig{Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1")}
		proxy.Set(chaos.Faults{Reset: 1 + i*apart})
		if _, err := Enroll(t.Context(), enrollment); err != nil {
			require.ErrorIs(t, err, registry.ErrUnavailable)
			proxy.Set(chaos.Faults{})
			_, err = Enroll(t.Context(), enrollment)
			require.NoError(t, err)
		}
		require.Len(t, s.fleet.Credentials(), 1)
		c := s.open(cfg)
		former := c.Info().Credential
		proxy.Set(chaos.Faults{Reset: 1 + i*7%points*apart})
		if err := c.Rotate(t.Context()); err != nil {
			require.ErrorIs(t, err, registry.ErrUnavailable)
			proxy.Set(chaos.Faults{})
			require.NoError(t, c.Rotate(t.Context()))
		}
		proxy.Set(chaos.Faults{})
		_, err := c.Register(t.Context(), registration("fra-1"))
		require.NoError(t, err)
		require.NotEqual(t, former, c.Info().Credential)
		require.Equal(t, []string{c.Info().Credential}, s.fleet.Credentials())
	}
}

// Reports that are sent again until they are taken, over ways that fail all the time, are counted once each.
func TestChaosUsage(t *testing.T) {
	s := newSite(t)
	first, one := s.behind(t)
	second, two := s.newFront().behind(t)
	cfg := impatient(s.config(), one, two)
	cfg.ReturnAfter = time.Millisecond
	n := s.node(cfg)
	ways := []chaos.Faults{{}, {Reset: 1}, {Reset: 3000}, {Garble: 1500}, {Refuse: true}, {Reset: 5000}, {Delay: 20 * time.Millisecond}}
	u := registry.PeerUsage{PublicKey: registration("a stranger").PublicKey, Download: 3, Upload: 1}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const reports = 40
	failed := 0
	for i := range reports {
		first.Set(ways[i%len(ways)])
		second.Set(ways[(i*3+1)%len(ways)])
		for {
			receipt, err := n.ReportUsage(ctx, registry.UsageReport{
				Server: n.Server, Sequence: int64(i + 1), From: time.Now(), To: time.Now(), Usages: []registry.PeerUsage{u},
			})
			if err == nil {
				require.EqualValues(t, i+1, receipt.Sequence)
				break
			}
			require.ErrorIs(t, err, registry.ErrUnavailable)
			require.NoError(t, ctx.Err(), "%d reports in a minute", i)
			failed++
			if failed%3 == 0 {
				first.Set(chaos.Faults{})
			}
		}
	}
	require.NotZero(t, failed, "the ways did fail")
	u.Download, u.Upload = reports*u.Download, reports*u.Upload
	require.Equal(t, []registry.PeerUsage{u}, s.mem.Unmatched()[n.Server])
}
