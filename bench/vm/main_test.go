package main

import (
	"bytes"
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	cfg, program, args, err := parse([]string{"-time", "1m", "-plain", "/p", "-test.v", "x"}, []string{"A=1", "BENCH_FULL=1"})
	require.NoError(t, err)
	require.Equal(t, "/p", program)
	require.Equal(t, []string{"-test.v", "x"}, args)
	require.True(t, cfg.OwnTime)
	require.Equal(t, time.Minute, cfg.Time)
	require.Equal(t, []string{"BENCH_FULL=1"}, cfg.Env)
	require.Equal(t, "# system: Linux 6.1 without fq_codel in a virtual machine\n# processors: 1\n# clock: 1 ns for an instruction\n",
		about("6.1", cfg))

	cfg, _, _, err = parse([]string{"/p"}, nil)
	require.NoError(t, err)
	require.Empty(t, cfg.KernelArgs)
	require.Contains(t, about("6.1", cfg), "Linux 6.1 with fq_codel in a virtual machine\n")

	_, err = run(t.Context(), nil, nil, new(bytes.Buffer))
	require.ErrorContains(t, err, "no program")
	_, err = run(t.Context(), []string{"-h"}, nil, new(bytes.Buffer))
	require.ErrorIs(t, err, flag.ErrHelp)
}
