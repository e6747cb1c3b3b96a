package up

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
)

var errNoModule = fmt.Errorf("%w: this test's kernel has nothing: load something", wgnode.ErrNotSupported)

// chosen is what settings for a dataplane come to where the kernel's can be had or not, and what is logged.
func chosen(t *testing.T, s Settings, kernelErr error) (c host.Choice, logged string, asked bool, err error) {
	t.Helper()
	p, err := s.plan()
	require.NoError(t, err)
	var log bytes.Buffer
	o := Options{
		Settings: s, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		supported: func(context.Context) error { asked = true; return kernelErr },
	}
	c, err = o.want(p.kernel).Choose(t.Context())
	if c.Dataplane != nil {
		require.NoError(t, c.Dataplane.Close())
	}
	return c, log.String(), asked, err
}

func TestChooseUserspace(t *testing.T) {
	c, logged, asked, err := chosen(t, settings(t.TempDir()), nil)
	require.NoError(t, err)
	require.IsType(t, &userspace.Dataplane{}, c.Dataplane)
	require.False(t, asked, "the system is not asked for what nobody wants")
	require.NoError(t, c.Why)
	require.Contains(t, logged, "dataplane=userspace asked_for=true")

	s := settings(t.TempDir())
	s.Dataplane = host.Auto
	c, logged, _, err = chosen(t, s, errNoModule)
	require.NoError(t, err)
	require.IsType(t, &userspace.Dataplane{}, c.Dataplane)
	require.Equal(t, errNoModule, c.Why)
	require.Contains(t, logged, "dataplane=userspace asked_for=false")
	require.Contains(t, logged, "load something")
}

func TestChooseKernel(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no other system has it")
	}
	for _, name := range []string{host.Auto, host.Kernel} {
		s := settings(t.TempDir())
		s.Dataplane, s.Interface, s.Uplink = name, "exit1", "eth0"
		c, logged, _, err := chosen(t, s, nil)
		require.NoError(t, err)
		require.IsType(t, &kernel.Dataplane{}, c.Dataplane)
		require.Contains(t, c.About, "interface exit1")
		require.Contains(t, logged, "dataplane=kernel")
	}
	busy := errors.New("busy")
	require.ErrorContains(t, host.Choice{Kernel: true}.StartError(names(), busy, 1), "say --dataplane userspace")
	require.Equal(t, busy, host.Choice{Kernel: true, Asked: true}.StartError(names(), busy, 1))
}

// What was asked for is never silently something else.
func TestKernelIsNotThere(t *testing.T) {
	s := settings(t.TempDir())
	s.Dataplane = host.Kernel
	_, _, _, err := chosen(t, s, errNoModule)
	require.ErrorIs(t, err, wgnode.ErrNotSupported)
	require.ErrorContains(t, err, "load something")
	require.ErrorContains(t, err, "--dataplane userspace")

	s.Dataplane, s.Uplink = host.Auto, "eth0"
	_, _, _, err = chosen(t, s, errNoModule)
	require.ErrorIs(t, err, errNoModule)
	require.ErrorContains(t, err, "--uplink would do nothing without it")
	s.FirewallMark = 7
	_, _, _, err = chosen(t, s, errNoModule)
	require.ErrorContains(t, err, "--uplink and --fwmark would do nothing without it")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Options{Settings: s, supported: func(ctx context.Context) error { return ctx.Err() }}.want(kernel.Config{}).Choose(ctx)
	require.Equal(t, context.Canceled, err)
}

func TestBadDataplane(t *testing.T) {
	for _, c := range []struct {
		dataplane, link, uplink string
		problems                []string
	}{
		{"ebpf", kernel.DefaultInterface, "", []string{`--dataplane: "ebpf" is not a dataplane: give auto, kernel, userspace`}},
		{host.Auto, "0", "a/b", []string{`--interface: "0": use 1 to 12`, `--uplink: "a/b": use the name`}},
		{host.Userspace, "wl0", "", []string{"--interface: is about the kernel dataplane"}},
		{host.Userspace, kernel.DefaultInterface, "eth0", []string{"--uplink: is about the kernel dataplane"}},
	} {
		s := settings("x")
		s.Dataplane, s.Interface, s.Uplink = c.dataplane, c.link, c.uplink
		_, err := s.plan()
		var invalid *SettingsError
		require.ErrorAs(t, err, &invalid)
		require.Len(t, invalid.Problems, len(c.problems), "%v", invalid.Problems)
		for i, problem := range c.problems {
			require.Contains(t, invalid.Problems[i], problem)
		}
	}
}

func TestWhyIsShown(t *testing.T) {
	s := settings(t.TempDir())
	s.Dataplane = host.Auto
	shown, stop := runUpWith(t, Options{Settings: s, supported: func(context.Context) error { return errNoModule }})
	require.Contains(t, shown.String(), "Dataplane    userspace, without privilege\n")
	require.Contains(t, shown.String(), "not the kernel's: not supported: this test's kernel has nothing: load something\n")
	stop()

	s.Dataplane = host.Kernel
	err := Run(t.Context(), Options{
		Settings: s, Out: console.New(io.Discard, nil), supported: func(context.Context) error { return errNoModule },
	})
	require.ErrorIs(t, err, errNoModule)
}
