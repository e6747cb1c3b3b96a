package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/demo"
	"github.com/waylume/waylume/cmd/waylumed/internal/doctor"
	"github.com/waylume/waylume/cmd/waylumed/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command runs a command line without an environment.
func command(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(ctx, args, system{stdout: &out, stderr: &errs, getenv: func(string) string { return "" }})
	return status, out.String(), errs.String()
}

// startUp starts a node by waylumed up, and returns when it runs. Stop interrupts it, and returns when it has ended.
func startUp(t *testing.T, args ...string) (stop func() (status int, stdout, stderr string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &upOutput{running: make(chan struct{})}
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"up"}, args...), system{stdout: out, stderr: &errs, getenv: func(string) string { return "" }})
	}()
	select {
	case <-out.running:
	case status := <-ended:
		ended <- status // stop tells of it
	}
	return func() (int, string, string) {
		cancel()
		return <-ended, out.String(), errs.String()
	}
}

// upOutput tells when a node runs.
type upOutput struct {
	bytes.Buffer
	running chan struct{}
	said    bool
}

func (o *upOutput) Write(b []byte) (int, error) {
	n, err := o.Buffer.Write(b)
	if !o.said && bytes.Contains(o.Bytes(), []byte("Running. Ctrl-C stops it.")) {
		o.said = true
		close(o.running)
	}
	return n, err
}

// The detector of races makes everything slower, so that rates come out right only on a machine that has nothing else to
// do. What is not about time must hold with it too, and what does not hold must be said.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about 20 seconds")
	}
	status, stdout, stderr := command(t.Context(), "demo", "--json")
	t.Log(stderr)
	var report demo.Report
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&report))
	require.Equal(t, demo.Schema, report.Schema)
	require.Equal(t, report.OK, status == exitOK)
	if !underRace {
		require.True(t, report.OK)
	}

	require.Len(t, report.Speeds, 3)
	for _, row := range report.Speeds {
		requireVerdict(t, row.Verdict)
		if row.OK {
			require.InEpsilon(t, row.Download.ConfiguredBPS, row.Download.MeasuredBPS, 0.06)
			require.InEpsilon(t, row.Upload.ConfiguredBPS, row.Upload.MeasuredBPS, 0.06)
		}
		require.Less(t, row.Download.GoodputBPS, row.Download.MeasuredBPS)
		require.Less(t, row.Upload.GoodputBPS, row.Upload.MeasuredBPS)
		require.NotZero(t, row.Upload.GoodputBPS)
		require.NotZero(t, row.IdleRTT.MedianMS)
		require.NotZero(t, row.LoadedRTT.MedianMS)
	}
	require.Len(t, report.Shared, 1)
	requireVerdict(t, report.Shared[0].Verdict)
	require.Len(t, report.Shared[0].Shares, 2)
	require.Len(t, report.Caps, 1)
	require.True(t, report.Caps[0].OK, "%+v", report.Caps[0])
	require.Zero(t, report.Caps[0].OvershootBytes)
	require.Equal(t, report.Caps[0].NodeBytes, report.Caps[0].WitnessBytes)
	require.Len(t, report.Throttles, 1)
	requireVerdict(t, report.Throttles[0].Verdict)
	require.Greater(t, report.Throttles[0].Before.MeasuredBPS, report.Throttles[0].After.MeasuredBPS)
	reached := 0
	for _, row := range report.Probes {
		require.True(t, row.OK, "%+v", row)
		require.NotZero(t, row.PacketsSent, "%+v", row)
		if row.Got == "reached" {
			reached++
			continue
		}
		require.Zero(t, row.DialsAsked+row.TargetSaw, "%+v", row)
	}
	require.Equal(t, 3, reached)
	require.Len(t, report.Probes, 11)
	require.Contains(t, stderr, "11 of 11 probes as expected")
}

// requireVerdict holds a row's verdict to itself.
func requireVerdict(t *testing.T, v demo.Verdict) {
	t.Helper()
	require.Equal(t, v.OK, len(v.Problems) == 0, "%+v", v)
	if !v.OK {
		require.Equal(t, 3, v.Attempts, "%+v", v)
	}
}

func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	status, stdout, stderr := command(ctx, "demo")
	require.Equal(t, exitInterrupted, status)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "waylumed: interrupted")
}

func TestUsageErrors(t *testing.T) {
	for line, want := range map[string]string{
		"upp":                           `unknown command "upp"`,
		"demo --jsn":                    "Run 'waylumed demo --help'",
		"demo now":                      `unknown command "now"`,
		"doctor now":                    `unknown command "now"`,
		"up --listen-port x":            "Run 'waylumed up --help'",
		"up --speed fast --cap 5G":      "2 things are wrong",
		"up --state x --dns a.b.cx":     "--dns",
		"up --dataplane ebpf":           "give auto, kernel, userspace",
		"up --interface 0 --uplink a/b": "2 things are wrong",
		"up --nat full --source-addrs x --control-ports ssh --control-allow 1.2.3.4/8": "4 things are wrong",
		"up --dataplane userspace --leave-firewalls --fwmark 0xca6c":                   "2 things are wrong",
		"up --fwmark x":                           "Run 'waylumed up --help'",
		"usage now":                               `unknown command "now"`,
		"usage --by week --from today --peer x":   "--from: \"today\" is not a time",
		"usage --from 2026-01-02 --to 2026-01-01": "is not before",
		"usage --account a --peer " + strings.Repeat("A", 43) + "=": "give one of them",
		"up --usage-log 7m --usage-retention 1h":                    "2 things are wrong",
		"backup":                                                    "wants backup FILE",
		"backup a b":                                                "wants backup FILE",
		"state":                                                     "say what to do with the state",
		"state chekc x":                                             `unknown command "chekc"`,
		"state check":                                               "wants check FILE",
		"state restore x":                                           "wants restore BACKUP FILE",
	} {
		t.Run(line, func(t *testing.T) {
			status, stdout, stderr := command(t.Context(), strings.Fields(line)...)
			require.Equal(t, exitUsage, status)
			require.Empty(t, stdout)
			require.Contains(t, stderr, want)
		})
	}
}

func TestVersion(t *testing.T) {
	status, stdout, _ := command(t.Context(), "version", "--json")
	require.Equal(t, exitOK, status)
	var b build
	require.NoError(t, json.Unmarshal([]byte(stdout), &b))
	require.Equal(t, runtime.GOOS, b.OS)
	require.Equal(t, runtime.GOARCH, b.Arch)
	require.Contains(t, b.Go, "go1.")

	status, stdout, _ = command(t.Context(), "version")
	require.Equal(t, exitOK, status)
	require.Contains(t, stdout, "waylumed ")
	require.Contains(t, stdout, runtime.GOOS+"/"+runtime.GOARCH)
}

func TestReadBuild(t *testing.T) {
	b := readBuild(&debug.BuildInfo{
		GoVersion: "go1.99", Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"}},
	}, true)
	require.Equal(t, build{"v1.2.3", "abc", "2026-01-02T03:04:05Z", true, "go1.99", runtime.GOOS, runtime.GOARCH}, b)
	var out strings.Builder
	require.NoError(t, b.write(&out))
	require.Equal(t, "waylumed v1.2.3\ncommit abc 2026-01-02T03:04:05Z, with changes\ngo1.99 "+runtime.GOOS+"/"+runtime.GOARCH+"\n", out.String())
	require.Equal(t, "(unknown)", readBuild(nil, false).Version)
}

func TestCompletion(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "__start_waylumed", "zsh": "#compdef waylumed", "fish": "complete -c waylumed", "powershell": "Register-ArgumentCompleter",
	} {
		status, stdout, _ := command(t.Context(), "completion", shell)
		require.Equal(t, exitOK, status)
		require.Contains(t, stdout, want)
	}
	_, stdout, _ := command(t.Context(), cobra.ShellCompRequestCmd, "up", "--cap-period", "")
	values, _, _ := strings.Cut(stdout, ":")
	require.Equal(t, "none\ndaily\nweekly\nmonthly\n", values)
}

// Each command says what it does, how it is used, and what each flag is.
func TestHelp(t *testing.T) {
	for _, name := range []string{"", "demo", "up", "status", "usage", "doctor", "backup", "state", "state check", "state restore", "version",
		"peers", "peers list", "peers add", "peers show", "peers remove", "peers limit", "peers cap", "peers suspend", "peers resume", "peers expire",
		"peers move", "peers rekey", "peers config", "peers qr", "accounts", "accounts list", "accounts put", "accounts show", "accounts remove",
		"accounts limit", "accounts cap", "accounts suspend", "accounts resume", "events", "drain", "undrain", "migrate", "fleet status", "fleet rotate", "fleet leave"} {
		status, stdout, _ := command(t.Context(), append(strings.Fields(name), "--help")...)
		require.Equal(t, exitOK, status)
		require.Contains(t, stdout, "Examples:\n  waylumed", name)
		for line := range strings.Lines(stdout) {
			require.LessOrEqual(t, len(line), 130, line)
		}
	}
	_, stdout, _ := command(t.Context(), "up", "--help")
	for _, flag := range []string{
		"--dataplane dataplane", `(default "auto")`, "--interface name", `(default "waylume0")`, "--uplink name", "--nat mode", `(default "masquerade")`, "--source-addrs addresses", "--fwmark mark",
		"--leave-firewalls ", "--control-ports ports", "--control-allow prefixes", "--state directory", "--listen-port port", "(default 51820)", "--endpoint host[:port]", "--dns addresses", "--new-peer ",
		"--peer-name name", `(default "20mbit")`, "--download rate", "--upload rate", "--cap amount", `(default "1GiB")`, "--cap-period period",
		"--account account", "--account-speed rate", "--account-cap amount", "--no-qr", "--verbose",
	} {
		require.Contains(t, stdout, flag)
	}
	_, stdout, _ = command(t.Context(), "demo", "--help")
	require.Contains(t, stdout, demo.Schema)
	_, stdout, _ = command(t.Context(), "doctor", "--help")
	require.Contains(t, stdout, doctor.Schema)
	_, stdout, _ = command(t.Context(), "usage", "--help")
	require.Contains(t, stdout, usage.Schema)
}

// Both forms, and the exit status, say the same.
func TestDoctor(t *testing.T) {
	status, stdout, stderr := command(t.Context(), "doctor", "--json")
	require.Empty(t, stderr)
	var report doctor.Report
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&report))
	require.Equal(t, doctor.Schema, report.Schema)
	require.Equal(t, runtime.GOOS, report.Host.OS)
	require.Equal(t, exitOK, status)

	again, stdout, stderr := command(t.Context(), "doctor")
	require.Equal(t, status, again)
	require.Empty(t, stderr)
	require.Contains(t, stdout, report.Verdict.Dataplane+" dataplane")
	for _, f := range report.Features {
		require.Contains(t, stdout, "│ "+f.Name+" ")
	}
}

func TestUp(t *testing.T) {
	status, stdout, stderr := startUp(t, "--dataplane", "userspace", "--state", t.TempDir(), "--listen-port", "0", "--peer-name", "tablet", "--no-qr")()
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "Configuration of peer tablet")
	require.Contains(t, stdout, "Stopping.")
}

// What a node logs is shown while it runs and when it does not, as a table and as JSON.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	status, _, stderr := command(t.Context(), "usage", "--state", dir)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "There is no usage log")

	stop := startUp(t, "--dataplane", "userspace", "--state", dir, "--listen-port", "0", "--no-qr", "--usage-retention", "400d")
	ask := func(more ...string) (report usage.Report) {
		status, stdout, stderr := command(t.Context(), append([]string{"usage", "--state", dir, "--json", "--from", "2026-01-01"}, more...)...)
		require.Equal(t, exitOK, status, stderr)
		decoder := json.NewDecoder(strings.NewReader(stdout))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&report))
		return report
	}
	require.Eventually(t, func() bool {
		status, _, _ := command(t.Context(), "usage", "--state", dir)
		return status == exitOK
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, usage.Schema, ask().Schema)
	_, stdout, _ := stop()
	require.Contains(t, stdout, "Usage log    every 15m, kept for 400d: waylumed usage")

	report := ask("--to", "2100-01-01")
	require.NotNil(t, report.Covers, "from the start to the close")
	require.Len(t, report.Steps, 1)
	require.Empty(t, report.Steps[0].Usages)
	status, stdout, stderr = command(t.Context(), "usage", "--state", dir, "--to", "2100-01-01T00:00:00Z", "--account", "nobody")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "Nothing was used.\n")
	require.Contains(t, stdout, "What is known is of ")

	without := t.TempDir()
	_, stdout, _ = startUp(t, "--dataplane", "userspace", "--state", without, "--listen-port", "0", "--no-qr", "--usage-log", "none")()
	require.Contains(t, stdout, "Usage log    none")
	_, err := os.Stat(filepath.Join(without, "usage"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
