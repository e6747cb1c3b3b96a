package state

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths here are of other systems")
	}
	env := func(value string) func(string) string {
		return func(name string) string { return map[string]string{"XDG_STATE_HOME": value}[name] }
	}
	require.Equal(t, "/var/lib/waylume", Dir(env("/x"), true, "/root"))
	require.Equal(t, "/x/waylumed", Dir(env("/x"), false, "/home/a"))
	require.Equal(t, "/home/a/.local/state/waylumed", Dir(env("relative"), false, "/home/a"))
	require.Empty(t, Dir(env(""), false, ""))
	service := func(name string) string {
		return map[string]string{"STATE_DIRECTORY": "/var/lib/waylume:/var/lib/other", "XDG_STATE_HOME": "/x"}[name]
	}
	require.Equal(t, "/var/lib/waylume", Dir(service, false, "/home/a"))
	require.Equal(t, "/var/lib/waylume", Dir(service, true, "/root"))
}
