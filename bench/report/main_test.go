package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestReport(t *testing.T) {
	var stdout, stderr bytes.Buffer
	document := filepath.Join(t.TempDir(), "figures.json")
	code := run([]string{"-json", document, filepath.Join("testdata", "rounds.txt")}, nil, &stdout, &stderr)
	require.Equal(t, exitOK, code, stderr.String())
	golden(t, "rounds.report", stdout.Bytes())
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	golden(t, "rounds.json", text)
}

// What is kept of a run gives the same report again.
func TestReportOfWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	raw, first, second := filepath.Join(dir, "raw.txt"), filepath.Join(dir, "1.json"), filepath.Join(dir, "2.json")
	input, err := os.ReadFile(filepath.Join("testdata", "rounds.txt"))
	require.NoError(t, err)
	_, figures, _ := bytes.Cut(input, []byte("# processors: 2\n"))
	figures, _, _ = bytes.Cut(figures, []byte("# ended"))
	var live, kept bytes.Buffer
	args := []string{"-raw", raw, "-json", first, "-commit", "abc", "-command", "make bench"}
	require.Equal(t, exitOK, run(args, bytes.NewReader(figures), &live, io.Discard))
	require.True(t, bytes.HasPrefix(live.Bytes(), figures), "what comes is shown")
	require.Equal(t, exitOK, run([]string{"-json", second, raw}, nil, &kept, io.Discard))
	require.Equal(t, strings.TrimPrefix(live.String(), string(figures)), kept.String())
	one, err := os.ReadFile(first)
	require.NoError(t, err)
	two, err := os.ReadFile(second)
	require.NoError(t, err)
	require.Equal(t, string(one), string(two))
	var d document
	require.NoError(t, json.Unmarshal(one, &struct{ Machine **machine }{&d.Machine}))
	require.Equal(t, "abc", d.Machine.Commit)
	require.Equal(t, "make bench", d.Machine.Command)
	require.NotEmpty(t, d.Machine.System)
	require.NotZero(t, d.Machine.Processors)
	require.NotEmpty(t, d.Machine.Ended)
}

// What runs elsewhere says where: the report is of that machine, also when it is made again, and the load of this one is nothing to it.
func TestReportOfAnotherMachine(t *testing.T) {
	const figures = "# system: Linux 6.1 in a virtual machine\n# processors: 1\n# clock: its own\nBenchmarkQuota/path=kernel/direction=up 1 0 over-B\n"
	raw := filepath.Join(t.TempDir(), "raw.txt")
	var live, kept bytes.Buffer
	require.Equal(t, exitOK, run([]string{"-raw", raw}, strings.NewReader(figures), &live, io.Discard))
	require.Equal(t, exitOK, run([]string{raw}, nil, &kept, io.Discard))
	require.Equal(t, strings.TrimPrefix(live.String(), figures), kept.String())
	require.Contains(t, kept.String(), "\nLinux 6.1 in a virtual machine, 1 processor; time is its own; go")
	require.NotContains(t, kept.String(), "Others were at work")
	require.Equal(t, exitFailed, run(nil, strings.NewReader("# processors: no\n"+figures[:10]), io.Discard, io.Discard))
}

func TestExitCodes(t *testing.T) {
	const good, bad = "BenchmarkQuota/path=userspace/direction=up 1 0 over-B\n", "BenchmarkQuota/path=userspace/direction=up 1 9 over-B\n"
	for _, c := range []struct {
		name, input string
		args        []string
		code        int
		says        string
	}{
		{"good", good, nil, exitOK, ""},
		{"an aim missed", bad, nil, exitOK, ""},
		{"an aim missed, strict", bad, []string{"-strict"}, exitFailed, ""},
		{"good, strict", good, []string{"-strict"}, exitOK, ""},
		{"a failure", good + "FAIL\texample.org/p\t1s\n", nil, exitFailed, ""},
		{"a line that cannot be read", good + "BenchmarkA 1 x ms\n", nil, exitFailed, ""},
		{"nothing", "PASS\n", nil, exitFailed, "no figures"},
		{"nothing but a failure", "FAIL\texample.org/p [build failed]\n", nil, exitFailed, "build failed"},
		{"help", "", []string{"-h"}, exitOK, "usage:"},
		{"no such flag", "", []string{"-x"}, exitUsage, "flag provided but not defined"},
		{"two files", "", []string{"a", "b"}, exitUsage, "one file at most"},
		{"keep a file again", "", []string{"-raw", "x", "a"}, exitUsage, "a file has its own"},
		{"no such file", "", []string{"testdata/none"}, exitFailed, "no such file"},
		{"nowhere to write", good, []string{"-json", filepath.Join("testdata", "none", "x")}, exitFailed, "no such file"},
		{"nowhere to keep", good, []string{"-raw", filepath.Join("testdata", "none", "x")}, exitFailed, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(c.args, strings.NewReader(c.input), &stdout, &stderr), "%s%s", &stdout, &stderr)
			require.Contains(t, stderr.String(), c.says)
		})
	}
}

func TestRecordedMachine(t *testing.T) {
	_, err := recorded(map[string]string{"processors": "many"})
	require.ErrorContains(t, err, "not a number of processors")
	var text bytes.Buffer
	(&machine{System: "Linux 6", Processors: 2, LoadBefore: "3.5"}).write(&text, 1)
	require.Contains(t, text.String(), "Others were at work")
	text.Reset()
	(&machine{System: "Linux 6", Processors: 2, LoadBefore: "0.5"}).write(&text, 1)
	require.NotContains(t, text.String(), "Others were at work")
	text.Reset()
	(&machine{System: "Linux 6", Processors: 1, LoadBefore: "3.5", Clock: "its own"}).write(&text, 1)
	require.NotContains(t, text.String(), "Others were at work")
}
