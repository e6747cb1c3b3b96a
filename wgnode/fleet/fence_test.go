package fleet_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/fleet"
)

func labels(session string, generation int64) map[string]string {
	return map[string]string{registry.SessionLabel: session, registry.GenerationLabel: strconv.FormatInt(generation, 10)}
}

// TestLabelsOfASession refuses those that say half.
func TestLabelsOfASession(t *testing.T) {
	fence, err := fleet.OpenFence(fleet.FenceConfig{File: filepath.Join(t.TempDir(), "released.json")})
	require.NoError(t, err)
	for _, bad := range []map[string]string{
		{registry.SessionLabel: "s"}, {registry.GenerationLabel: "1"}, labels("", 1), labels("s", 0), labels("s", -1),
		{registry.SessionLabel: "s", registry.GenerationLabel: "01"}, {registry.SessionLabel: "s", registry.GenerationLabel: "x"},
	} {
		_, err := fence.Admit(t.Context(), []wgnode.PeerSpec{{Labels: bad}})
		require.ErrorIs(t, err, fleet.ErrLabels, "%v", bad)
	}
	done, err := fence.Admit(t.Context(), []wgnode.PeerSpec{{Labels: map[string]string{"other": "x"}}, {}})
	require.NoError(t, err)
	require.Nil(t, done)
}

// TestFenceFileOfAnother refuses what it cannot read, and a directory that is not there.
func TestFenceFileOfAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "released.json")
	for _, text := range []string{"", "{", `{"format":"other","version":1}`, `{"format":"waylume-released","version":2}`} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := fleet.OpenFence(fleet.FenceConfig{File: file})
		require.ErrorIs(t, err, fleet.ErrFence)
		require.ErrorContains(t, err, file)
	}
	_, err := fleet.OpenFence(fleet.FenceConfig{File: filepath.Join(t.TempDir(), "none", "released.json")})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = fleet.OpenFence(fleet.FenceConfig{})
	require.ErrorIs(t, err, registry.ErrInvalid)
	_, err = fleet.OpenFence(fleet.FenceConfig{File: file, Keep: time.Minute})
	require.ErrorIs(t, err, registry.ErrInvalid)
}

// TestLaterGenerationReplaces adds a session that comes back, before its release has come.
func TestLaterGenerationReplaces(t *testing.T) {
	h := newHost(t)
	s, _ := h.sessionOf(t, "s", 1)
	p, err := h.node.AddPeer(t.Context(), wgnode.PeerSpec{PublicKey: s, Labels: labels("s", 3)})
	require.NoError(t, err)
	require.True(t, p.Created)
	_, err = h.node.AddPeer(t.Context(), wgnode.PeerSpec{PublicKey: s, Labels: labels("s", 1)})
	require.ErrorIs(t, err, fleet.ErrReleased, "that of before is late")
	p, err = h.node.AddPeer(t.Context(), wgnode.PeerSpec{PublicKey: s, Labels: labels("s", 3)})
	require.NoError(t, err)
	require.False(t, p.Created, "it is there")
	_, err = h.node.AddPeer(t.Context(), wgnode.PeerSpec{PublicKey: s, Labels: labels("other", 9)})
	require.ErrorIs(t, err, wgnode.ErrExists, "another session's peer is not replaced")
}

// sessionOf adds a peer of a session that the fleet does not know.
func (h *host) sessionOf(t *testing.T, session string, generation int64) (wgtypes.Key, wgnode.AddedPeer) {
	t.Helper()
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	p, err := h.node.AddPeer(t.Context(), wgnode.PeerSpec{PublicKey: private.PublicKey(), Labels: labels(session, generation)})
	require.NoError(t, err)
	return private.PublicKey(), p
}

// TestNothingComesBack has additions and releases of many sessions meet: whatever their order, a session that was ended has no
// peer when the release was carried out, and none after.
func TestNothingComesBack(t *testing.T) {
	h := newHost(t)
	h.joined(t)
	var sessions []registry.Session
	for i := range 30 {
		private, err := wgtypes.GeneratePrivateKey()
		require.NoError(t, err)
		s, err := h.fleet.Begin(t.Context(), registry.NewSession{
			User: "u", IdempotencyKey: strconv.Itoa(i), PublicKey: registry.Key(private.PublicKey()),
		})
		require.NoError(t, err)
		sessions = append(sessions, s)
	}
	var adders sync.WaitGroup
	var stop atomic.Bool
	var wrong atomic.Pointer[error]
	for range 4 {
		adders.Go(func() {
			for !stop.Load() {
				specs := []wgnode.PeerSpec{specOf(sessions[rand.IntN(len(sessions))])}
				if other := specOf(sessions[rand.IntN(len(sessions))]); other.PublicKey != specs[0].PublicKey {
					specs = append(specs, other)
				}
				if _, err := h.node.AddPeers(t.Context(), specs); err != nil && !errors.Is(err, fleet.ErrReleased) {
					wrong.Store(&err)
				}
			}
		})
	}
	for _, s := range sessions {
		_, err := h.fleet.End(t.Context(), s.ID, "over")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return h.member.State().Released == int64(len(sessions)) }, patience, tick)
	for _, s := range sessions {
		require.False(t, h.has(s.PublicKey))
	}
	stop.Store(true)
	adders.Wait()
	if err := wrong.Load(); err != nil {
		require.NoError(t, *err)
	}
	for _, s := range sessions {
		require.False(t, h.has(s.PublicKey))
	}
}
