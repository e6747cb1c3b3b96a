package membership

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/durable"
	"github.com/waylume/waylume/registry"
)

func TestStateFileOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.json")
	s := &store{path: path}
	require.NoError(t, s.load())
	require.Equal(t, file{Format: fileFormat, Version: fileVersion}, s.known())
	_, err := os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist, "reading writes nothing")
	require.NoError(t, s.update(func(f *file) {
		f.Server, f.Released, f.Usage = "a", 7, usage{Sequence: 3, After: "x", UpTo: "y", Skip: true}
	}))

	leftover := filepath.Join(filepath.Dir(path), durable.Prefix(path)+"1")
	require.NoError(t, os.WriteFile(leftover, nil, 0o600))
	again := &store{path: path}
	require.NoError(t, again.load())
	require.Equal(t, s.known(), again.known())
	require.Equal(t, s.kept(), again.kept())
	_, err = os.Stat(leftover)
	require.ErrorIs(t, err, os.ErrNotExist, "what a killed process left is gone")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestStateFileThatCannotBeUsed(t *testing.T) {
	for _, c := range []struct{ name, content, says string }{
		{"empty", "", "damaged"},
		{"cut off", `{"format":"waylume-membership","ver`, "damaged"},
		{"another program's", `{"format":"shopping-list","version":1}`, `format is "shopping-list"`},
		{"a newer one's", `{"format":"waylume-membership","version":2}`, "version is 2"},
		{"nonsense", `{"format":"waylume-membership","version":1,"released":-1}`, "never writes"},
		{"long", strings.Repeat(" ", maxFile+1), "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fleet.json")
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
			m, err := New(Config{Registry: newFakeFleet(), Node: &fakeNode{}, StateFile: path})
			require.NoError(t, err)
			err = m.Run(t.Context())
			require.ErrorIs(t, err, ErrState)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "move it away")
			require.ErrorIs(t, m.Leave(t.Context()), ErrState)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, c.content, string(content), "it is left as it is")
		})
	}
}

func TestStateFileNeedsItsDirectory(t *testing.T) {
	m, err := New(Config{Registry: newFakeFleet(), Node: &fakeNode{}, StateFile: filepath.Join(t.TempDir(), "none", "fleet.json")})
	require.NoError(t, err)
	err = m.Run(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "directory has to be there")
}

func TestConfig(t *testing.T) {
	_, err := New(Config{Interval: time.Hour, UsagePeriod: time.Millisecond, Timeout: -1})
	require.ErrorIs(t, err, registry.ErrInvalid)
	for _, problem := range []string{"Registry", "Node", "StateFile", "Interval", "UsagePeriod", "Timeout"} {
		require.ErrorContains(t, err, problem)
	}
	m, err := New(Config{Registry: newFakeFleet(), Node: &fakeNode{}, StateFile: "x"})
	require.NoError(t, err)
	require.Equal(t, registry.DefaultInterval, m.cfg.Interval)
	require.Equal(t, DefaultUsagePeriod, m.cfg.UsagePeriod)
	require.Equal(t, DefaultTimeout, m.cfg.Timeout)
	require.Equal(t, State{Phase: Joining, Interval: registry.DefaultInterval, Breaker: "closed"}, m.State())
}

func TestRunsOnce(t *testing.T) {
	m, err := New(Config{Registry: newFakeFleet(), Node: &fakeNode{}, StateFile: filepath.Join(t.TempDir(), "fleet.json")})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, m.Run(ctx))
	require.ErrorContains(t, m.Run(ctx), "runs once")
}
