package wgnode

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

func TestAddPeer(t *testing.T) {
	r := startRig(t)
	first, err := r.AddPeer(t.Context(), PeerSpec{})
	require.NoError(t, err)
	require.True(t, first.Created)
	require.Equal(t, first.PublicKey, first.PrivateKey.PublicKey())
	require.Len(t, first.Addrs, 2)
	require.Equal(t, "10.0.0.2", first.Addrs[0].String())
	require.True(t, first.Addrs[1].Is6())
	require.False(t, first.CreatedAt.IsZero())

	_, err = r.PutAccount(t.Context(), AccountSpec{ID: "acme"})
	require.NoError(t, err)
	spec := PeerSpec{
		PublicKey: newKey(t), PresharedKey: wgtypes.Key{1}, Name: "laptop", Account: "acme",
		Addrs:      []netip.Addr{netip.MustParseAddr("10.1.2.3")},
		Labels:     map[string]string{"team": "red"},
		SpeedLimit: shaping.Limit{Download: 20_000_000, Upload: 5_000_000},
		DataCap:    quota.Cap{Bytes: quota.GiB, AtEnd: quota.Throttle, ThrottleDownload: 1_000_000},
		ExpiresAt:  time.Now().Add(time.Hour),
	}
	second := r.add(t, spec)
	require.Zero(t, second.PrivateKey)
	require.True(t, second.HasPresharedKey)
	require.Equal(t, netip.MustParseAddr("10.1.2.3"), second.Addrs[0])
	require.Greater(t, second.Sequence, first.Sequence)

	state, ok := r.dataplane.peer(spec.PublicKey)
	require.True(t, ok)
	require.Equal(t, spec.PresharedKey, state.PresharedKey)
	require.Equal(t, spec.SpeedLimit, state.SpeedLimit)
	require.Equal(t, shaping.Limit{Download: 1_000_000}, state.Throttle)
	require.Equal(t, quota.Budget{Limited: true, Limit: 1 << 30, AtEnd: quota.Throttle, Mark: state.Budget.Mark}, state.Budget)
	require.Equal(t, isolation.Subject{ID: spec.PublicKey.String(), Account: "acme", Labels: spec.Labels, Addrs: second.Addrs},
		state.Subject())
	require.Equal(t, []EventKind{NodeStarted, PeerAdded, AccountAdded, PeerAdded}, r.kinds())
	r.sound(t)
}

// TestAddingAgain asks for a peer that is there, as it is and with each field changed.
func TestAddingAgain(t *testing.T) {
	r := startRig(t)
	_, err := r.PutAccount(t.Context(), AccountSpec{ID: "acme"})
	require.NoError(t, err)
	spec := PeerSpec{
		PublicKey: newKey(t), PresharedKey: wgtypes.Key{1}, Name: "laptop", Labels: map[string]string{"team": "red"},
		SpeedLimit: shaping.Limit{Download: 20_000_000}, DataCap: capOf(quota.GiB),
		ExpiresAt: time.Now().Add(time.Hour).In(time.FixedZone("here", 3600)),
	}
	added := r.add(t, spec)
	r.drain()
	calls := r.dataplane.count("Apply")

	again, err := r.AddPeer(t.Context(), spec)
	require.NoError(t, err)
	require.False(t, again.Created)
	require.Equal(t, added.Peer, again.Peer)
	asked := spec
	asked.Addrs = added.Addrs[1:]
	_, err = r.AddPeer(t.Context(), asked)
	require.NoError(t, err)

	changes := map[string]func(*PeerSpec){
		"psk":    func(s *PeerSpec) { s.PresharedKey = wgtypes.Key{2} },
		"name":   func(s *PeerSpec) { s.Name = "phone" },
		"addr":   func(s *PeerSpec) { s.Addrs = []netip.Addr{netip.MustParseAddr("10.9.9.9")} },
		"acct":   func(s *PeerSpec) { s.Account = "acme" },
		"labels": func(s *PeerSpec) { s.Labels = nil },
		"limit":  func(s *PeerSpec) { s.SpeedLimit.Upload = 1_000_000 },
		"cap":    func(s *PeerSpec) { s.DataCap.Bytes++ },
		"expiry": func(s *PeerSpec) { s.ExpiresAt = s.ExpiresAt.Add(1) },
	}
	for name, change := range changes {
		other := spec
		change(&other)
		_, err := r.AddPeer(t.Context(), other)
		require.ErrorIs(t, err, ErrExists, name)
		require.ErrorContains(t, err, spec.PublicKey.String())
	}
	require.Equal(t, calls, r.dataplane.count("Apply"), "nothing was to be applied")
	require.Empty(t, r.drain())

	// What was set since is part of what the peer is.
	require.NoError(t, r.SetSpeedLimit(t.Context(), OfPeer(spec.PublicKey), shaping.Limit{}))
	_, err = r.AddPeer(t.Context(), spec)
	require.ErrorIs(t, err, ErrExists)
	r.sound(t)
}

func TestRemovePeer(t *testing.T) {
	r := startRig(t)
	p := r.add(t, PeerSpec{DataCap: capOf(1000)})
	require.True(t, r.dataplane.move(p.PublicKey, quota.Download, 700))
	r.drain()
	require.NoError(t, r.RemovePeer(t.Context(), p.PublicKey))
	require.ErrorIs(t, r.RemovePeer(t.Context(), p.PublicKey), ErrNotFound)
	_, err := r.Peer(p.PublicKey)
	require.ErrorIs(t, err, ErrNotFound)

	events := r.drain()
	require.Len(t, events, 1)
	require.Equal(t, PeerRemoved, events[0].Kind)
	require.Equal(t, RemovalRequested, events[0].Reason)
	require.Equal(t, quota.Counters{Download: 700}, events[0].Counters)

	_, err = r.AddPeer(t.Context(), PeerSpec{Addrs: p.Addrs[:1]})
	require.ErrorIs(t, err, ipam.ErrQuarantined)
	next := r.add(t, PeerSpec{})
	require.NotEqual(t, p.Addrs, next.Addrs)
	require.Greater(t, next.Sequence, p.Sequence)
	r.sound(t)
}

func TestAskedAddresses(t *testing.T) {
	r := startRig(t)
	v4, v6 := netip.MustParseAddr("10.200.0.7"), ipam.DefaultIPv6().Addr().Next().Next().Next()
	p := r.add(t, PeerSpec{Addrs: []netip.Addr{v6, v4}})
	require.Equal(t, []netip.Addr{v4, v6}, p.Addrs)

	taken := r.dataplane.count("Apply")
	_, err := r.AddPeer(t.Context(), PeerSpec{Addrs: []netip.Addr{v6}})
	require.ErrorIs(t, err, ipam.ErrTaken)
	_, err = r.AddPeer(t.Context(), PeerSpec{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
	require.ErrorIs(t, err, ipam.ErrReserved)
	require.Equal(t, taken, r.dataplane.count("Apply"))
	r.sound(t) // the IPv4 address that was leased before the IPv6 one was refused is free again
}

func TestStableAddresses(t *testing.T) {
	r := startRig(t, func(c *Config) { c.StableAddresses, c.Pool.Quarantine = true, ipam.NoQuarantine })
	key := newKey(t)
	first := r.add(t, PeerSpec{PublicKey: key})
	r.add(t, PeerSpec{})
	require.NoError(t, r.RemovePeer(t.Context(), key))
	r.add(t, PeerSpec{})
	require.Equal(t, first.Addrs, r.add(t, PeerSpec{PublicKey: key}).Addrs)
}

func TestPoolOfOneFamily(t *testing.T) {
	r := startRig(t, func(c *Config) {
		c.Pool.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.168.77.0/29"), netip.MustParsePrefix("192.168.99.0/24")}
	})
	p := r.add(t, PeerSpec{})
	require.Len(t, p.Addrs, 1)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.168.77.1/29")}, r.dataplane.cfg.Addresses)
	require.Equal(t, r.cfg.Pool.Prefixes, r.dataplane.cfg.Pool)
	_, err := r.AddPeer(t.Context(), PeerSpec{Addrs: []netip.Addr{netip.MustParseAddr("fd00::2")}})
	require.ErrorIs(t, err, ErrInvalid)
}

func TestExhaustedPool(t *testing.T) {
	r := startRig(t, func(c *Config) { c.Pool.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.168.77.0/30")} })
	r.add(t, PeerSpec{})
	_, err := r.AddPeer(t.Context(), PeerSpec{})
	require.ErrorIs(t, err, ipam.ErrExhausted)
	r.sound(t)
}

// TestAddPeerNamesEveryProblem breaks every field at once.
func TestAddPeerNamesEveryProblem(t *testing.T) {
	r := startRig(t)
	many := make(map[string]string)
	for i := range MaxLabels + 1 {
		many[strings.Repeat("x", i+1)] = ""
	}
	addr := netip.MustParseAddr
	tests := map[string]struct {
		spec PeerSpec
		want []string // fields, in order
	}{
		"everything": {
			PeerSpec{
				PublicKey: r.up.publicKey,
				Name:      strings.Repeat("n", MaxNameLen+1),
				Addrs: []netip.Addr{addr("203.0.113.1"), addr("10.0.0.9"), addr("::ffff:10.0.0.1"), {}, addr("fe80::1%eth0"),
					addr("2001:db8::1")},
				Account:    "nobody",
				Labels:     map[string]string{"": "", "ok": "\xff", "bell": "\a"},
				SpeedLimit: shaping.Limit{Download: 1, Upload: shaping.MaxRate + 1},
				DataCap:    quota.Cap{Bytes: quota.MaxBytes + 1, AtEnd: quota.Throttle, ThrottleUpload: 1},
				ExpiresAt:  time.Now().Add(-time.Second),
			},
			[]string{"PublicKey", "Name", "Addrs[0]", "Addrs[1]", "Addrs[2]", "Addrs[3]", "Addrs[4]", "Addrs[5]", "Account",
				`Labels[""] key`, `Labels["bell"]`, `Labels["ok"]`, "SpeedLimit", "SpeedLimit", "DataCap.Bytes",
				"DataCap.Throttle", "ExpiresAt"},
		},
		"too many labels":     {PeerSpec{Labels: many}, []string{"Labels"}},
		"low order":           {PeerSpec{PublicKey: wgtypes.Key{1}}, []string{"PublicKey"}},
		"low order, high bit": {PeerSpec{PublicKey: wgtypes.Key{0: 1, 31: 0x80}}, []string{"PublicKey"}},
		"name not UTF-8":      {PeerSpec{Name: "\xc3("}, []string{"Name"}},
		"name with lines":     {PeerSpec{Name: "a\nb"}, []string{"Name"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := r.AddPeer(t.Context(), test.spec)
			require.ErrorIs(t, err, ErrInvalid)
			var invalid *ValidationError
			require.ErrorAs(t, err, &invalid)
			var fields []string
			for _, p := range invalid.Problems {
				fields = append(fields, p.Field)
				require.Contains(t, err.Error(), p.Field+": "+p.Message)
				require.NotContains(t, p.Message, "\n")
			}
			require.Equal(t, test.want, fields)
		})
	}
	require.Zero(t, r.dataplane.count("Apply"))
	r.sound(t)
}

func TestAccounts(t *testing.T) {
	r := startRig(t)
	ctx := t.Context()
	spec := AccountSpec{ID: "acme", SpeedLimit: shaping.Limit{Download: 10_000_000}, DataCap: capOf(1000)}
	a, err := r.PutAccount(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, 0, a.Peers)
	applied := r.dataplane.count("Apply")
	same, err := r.PutAccount(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, a, same)
	require.Equal(t, applied, r.dataplane.count("Apply"))

	p := r.add(t, PeerSpec{Account: "acme"})
	require.ErrorIs(t, r.RemoveAccount(ctx, "acme"), ErrAccountInUse)
	require.True(t, r.dataplane.move(p.PublicKey, quota.Upload, 600))

	spec.DataCap.Bytes, spec.SpeedLimit.Upload, spec.Labels = 2000, 8000, map[string]string{"plan": "gold"}
	a, err = r.PutAccount(ctx, spec)
	require.NoError(t, err)
	require.Equal(t, 1, a.Peers)
	require.Equal(t, spec.Labels, a.Labels)
	require.Equal(t, quota.Bytes(600), r.used(t, OfAccount("acme")).Used, "usage stays over a change of the cap")
	state, _ := r.dataplane.account("acme")
	require.Equal(t, spec.SpeedLimit, state.SpeedLimit)
	require.Equal(t, uint64(2000), state.Budget.Limit)

	require.NoError(t, r.RemovePeer(ctx, p.PublicKey))
	require.NoError(t, r.RemoveAccount(ctx, "acme"))
	require.ErrorIs(t, r.RemoveAccount(ctx, "acme"), ErrNotFound)
	_, err = r.Account("acme")
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, []EventKind{NodeStarted, AccountAdded, PeerAdded, AccountChanged, PeerRemoved, AccountRemoved}, r.kinds())

	_, err = r.PutAccount(ctx, AccountSpec{Labels: map[string]string{"": ""}, SpeedLimit: shaping.Limit{Upload: 1}})
	var invalid *ValidationError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Problems, 3)
	r.sound(t)
}

func TestSetters(t *testing.T) {
	r := startRig(t)
	ctx := t.Context()
	_, err := r.PutAccount(ctx, AccountSpec{ID: "acme"})
	require.NoError(t, err)
	key := r.add(t, PeerSpec{Account: "acme"}).PublicKey
	limit := shaping.Limit{Download: 1_000_000, Upload: 2_000_000}
	for _, s := range []Subject{OfPeer(key), OfAccount("acme")} {
		require.NoError(t, r.SetSpeedLimit(ctx, s, limit))
		require.NoError(t, r.SetDataCap(ctx, s, capOf(1000)))
		require.NoError(t, r.TopUp(ctx, s, 500))
		r.dataplane.move(key, quota.Download, 100)
		require.Equal(t, quota.Bytes(1500), r.used(t, s).Limit)
		require.NoError(t, r.ResetUsage(ctx, s))
		require.Zero(t, r.used(t, s).Used)
	}
	r.drain()
	applied := r.dataplane.count("Apply")
	for _, s := range []Subject{OfPeer(key), OfAccount("acme")} {
		require.NoError(t, r.SetSpeedLimit(ctx, s, limit))
		require.NoError(t, r.SetDataCap(ctx, s, capOf(1000)))
	}
	require.Equal(t, applied, r.dataplane.count("Apply"), "setting what is so changes nothing")
	require.Empty(t, r.drain())

	for _, s := range []Subject{OfPeer(newKey(t)), OfAccount("nobody"), {}} {
		require.ErrorIs(t, r.SetSpeedLimit(ctx, s, limit), ErrNotFound)
		require.ErrorIs(t, r.SetDataCap(ctx, s, capOf(1)), ErrNotFound)
		require.ErrorIs(t, r.TopUp(ctx, s, 1), ErrNotFound)
		require.ErrorIs(t, r.ResetUsage(ctx, s), ErrNotFound)
		_, err := r.Usage(ctx, s)
		require.ErrorIs(t, err, ErrNotFound)
	}
	s := OfPeer(key)
	require.ErrorIs(t, r.SetSpeedLimit(ctx, s, shaping.Limit{Download: 1}), ErrInvalid)
	require.ErrorIs(t, r.SetDataCap(ctx, s, quota.Cap{Bytes: 1, Thresholds: []int{0, 101}}), ErrInvalid)
	require.ErrorIs(t, r.TopUp(ctx, s, 0), ErrInvalid)
	require.ErrorIs(t, r.TopUp(ctx, s, quota.MaxBytes), ErrInvalid)
	require.ErrorIs(t, r.SetNodeSpeedLimit(ctx, shaping.Limit{Upload: 1}), ErrInvalid)
	require.NoError(t, r.SetDataCap(ctx, s, quota.Cap{}))
	require.ErrorIs(t, r.TopUp(ctx, s, 1), ErrInvalid)
	r.sound(t)
}

func TestNodeSettingsLastUntilTheClose(t *testing.T) {
	r := startRig(t)
	policy := isolation.Policy{Deny: []isolation.Rule{{Name: "no dns", Ports: []isolation.PortRange{{First: 53, Last: 53}}}}}
	require.NoError(t, r.SetPolicy(t.Context(), policy))
	require.NoError(t, r.SetPolicy(t.Context(), policy))
	require.NoError(t, r.SetNodeSpeedLimit(t.Context(), shaping.Limit{Download: 1_000_000_000}))
	require.Equal(t, 2, r.dataplane.count("Apply"))
	require.Equal(t, []EventKind{NodeStarted, NodeChanged, NodeChanged}, r.kinds())
	require.True(t, r.dataplane.policy.Equal(policy))
	_, err := r.Sync(t.Context())
	require.NoError(t, err)
	require.True(t, r.dataplane.policy.Equal(policy), "a sync keeps what was set")

	require.ErrorIs(t, r.SetPolicy(t.Context(), isolation.Policy{Allow: []isolation.Rule{{
		Ports: []isolation.PortRange{{First: 2, Last: 1}}}}}), ErrInvalid)

	next := r.again(t)
	require.Empty(t, next.dataplane.policy.Deny)
	require.Zero(t, next.dataplane.speedLimit)
}

// TestWaitingForTheSlotHeedsTheContext cancels a change that waits for another.
func TestWaitingForTheSlotHeedsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.dataplane.setHook(func(_ context.Context, call string) error {
			if call == "Apply" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		go func() { _, _ = r.AddPeer(t.Context(), PeerSpec{}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		_, err := r.AddPeer(ctx, PeerSpec{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begun))
		status, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Zero(t, status.Peers)
		require.Equal(t, time.Second, time.Since(begun), "reading waits for no change")
	})
}
