package sysctl

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// Asking writes nothing, and makes nothing.
func TestWritable(t *testing.T) {
	values := map[string]string{"net.ipv4.ip_forward": "0"}
	tr := tree(t, values)
	require.NoError(t, tr.Writable("net.ipv4.ip_forward"))
	want(t, tr, values)
	require.ErrorIs(t, tr.Writable("net.ipv6.conf.all.forwarding"), fs.ErrNotExist)
	_, err := tr.Get("net.ipv6.conf.all.forwarding")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
