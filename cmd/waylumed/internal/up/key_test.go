package up

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/status"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/keyfile"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// TestKeyFile has the key beside the state, and not in a backup, and a state that comes back without it.
func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	shown, stop := runUp(t, settings(dir), nil)
	private, err := keyfile.Read(state.KeyFile(dir))
	require.NoError(t, err)
	require.Equal(t, private.PublicKey().String(), field(t, shown.String(), "PublicKey"))
	require.Contains(t, state.AboutKey(dir), "The node's private key is in "+state.KeyFile(dir))
	backup := filepath.Join(t.TempDir(), "backup.db")
	_, _, err = state.Backup(t.Context(), dir, backup, boltstore.BackupOptions{})
	require.NoError(t, err)
	stop()
	for _, file := range []string{backup, state.File(dir)} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(content), private.String(), file)
		require.Contains(t, string(content), private.PublicKey().String(), "it is the record that is looked for")
	}

	elsewhere := t.TempDir()
	_, err = boltstore.Restore(t.Context(), backup, state.File(elsewhere), boltstore.RestoreOptions{})
	require.NoError(t, err)
	require.Contains(t, state.AboutKey(elsewhere), "which 'waylumed up' was told or makes as")
	err = Run(t.Context(), Options{Settings: settings(elsewhere)})
	require.ErrorIs(t, err, wgnode.ErrKeyMismatch)
	require.ErrorContains(t, err, "--accept-new-key")
	require.NoFileExists(t, state.KeyFile(elsewhere))

	s := settings(elsewhere)
	s.PrivateKeyFile, s.NewPeer, s.Given = state.KeyFile(dir), true, []string{"new-peer"}
	shown, stop = runUp(t, s, nil)
	require.Equal(t, private.PublicKey().String(), field(t, shown.String(), "PublicKey"))
	stop()
	s.PrivateKeyFile, s.AcceptNewKey = "", true
	shown, stop = runUp(t, s, nil)
	require.NotEqual(t, private.PublicKey().String(), field(t, shown.String(), "PublicKey"))
	stop()

	require.NoError(t, os.Chmod(state.KeyFile(dir), 0o644))
	err = Run(t.Context(), Options{Settings: settings(dir)})
	require.ErrorIs(t, err, keyfile.ErrExposed)
	require.ErrorContains(t, err, "chmod 600 "+state.KeyFile(dir))
	require.NotContains(t, err.Error(), "UDP port")
}

// TestKeyLeavesAnOldState runs on a state of an earlier version, which had the key in it.
func TestKeyLeavesAnOldState(t *testing.T) {
	dir := t.TempDir()
	private, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	store, err := boltstore.Open(state.File(dir), boltstore.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{{Record: wgnode.Record{
		Kind: wgnode.RecordNode, Key: "private-key", Value: []byte(`{"v":1,"private_key":"` + private.String() + `"}`),
	}}}))
	require.NoError(t, store.Close())
	_, stop := runUp(t, settings(dir), nil)
	stop()
	got, err := keyfile.Read(state.KeyFile(dir))
	require.NoError(t, err)
	require.Equal(t, private, got)
}

// TestRotateKey has a node that runs take another key, and go on with it when it starts again.
func TestRotateKey(t *testing.T) {
	dir := t.TempDir()
	shown, stop := runUp(t, settings(dir), nil)
	former := field(t, shown.String(), "PublicKey")
	keys, err := control.RotateKey(t.Context(), state.Socket(dir), 0)
	require.NoError(t, err)
	require.Equal(t, former, keys.Former)
	private, err := keyfile.Read(state.KeyFile(dir))
	require.NoError(t, err)
	require.Equal(t, private.PublicKey().String(), keys.Public)
	shown.waitFor(t, "Every device needs it as PublicKey under [Peer]: "+keys.Public)
	stop()
	s := settings(dir)
	s.NewPeer, s.Given = true, []string{"new-peer"}
	shown, stop = runUp(t, s, nil)
	require.Equal(t, keys.Public, field(t, shown.String(), "PublicKey"))
	stop()
}

// TestKeyOverlap has a node whose dataplane serves two keys give itself another one for those who ask.
func TestKeyOverlap(t *testing.T) {
	dir := t.TempDir()
	store, err := boltstore.Open(state.File(dir), boltstore.Options{})
	require.NoError(t, err)
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane(), Store: store, PrivateKeyFile: state.KeyFile(dir)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	require.NoError(t, node.Start(t.Context()))
	server, err := control.Listen(state.Socket(dir), host.Served{Store: store, Node: node})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	var out bytes.Buffer
	events := node.Subscribe()
	r := &runner{Options: Options{Out: console.New(&out, nil)}, node: node}
	told := func() string {
		t.Helper()
		e, err := events.Next(t.Context())
		require.NoError(t, err)
		return r.describe(e)
	}

	none, err := control.EndKeyOverlap(t.Context(), state.Socket(dir))
	require.NoError(t, err)
	require.Empty(t, none.Former)
	keys, err := control.RotateKey(t.Context(), state.Socket(dir), time.Hour)
	require.NoError(t, err)
	require.Equal(t, none.Public, keys.Former)
	require.WithinDuration(t, time.Now().Add(time.Hour), keys.OverlapEnds, time.Minute)
	require.Equal(t, "The node has another key. Every device needs it as PublicKey under [Peer] by "+localTime(keys.OverlapEnds)+": "+keys.Public, told())
	_, err = control.RotateKey(t.Context(), state.Socket(dir), time.Hour)
	require.ErrorContains(t, err, "an overlap of the node's keys is under way")
	now, err := node.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.showNode(now))
	require.Regexp(t, `Former key +`+regexp.QuoteMeta(keys.Former+", until "+localTime(keys.OverlapEnds)), out.String())
	var answer bytes.Buffer
	require.NoError(t, control.Report(t.Context(), state.Socket(dir), &answer))
	report, err := status.Read(answer.Bytes())
	require.NoError(t, err)
	require.Equal(t, &status.Overlap{FormerKey: keys.Former, EndsAt: keys.OverlapEnds}, report.Overlap)

	ended, err := control.EndKeyOverlap(t.Context(), state.Socket(dir))
	require.NoError(t, err)
	require.Equal(t, control.Keys{Public: keys.Public, Former: keys.Former}, ended)
	require.Equal(t, "Devices that know the node by its former key "+keys.Former+" cannot connect any more", told())
	require.NoFileExists(t, state.KeyFile(dir)+".former")
}
