package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell has it for SIGINT
)

// system is what a command has of the world around it.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        []string
}

// usageError is a command line that cannot be meant.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSilent ends a command with a failure that it has shown already.
var errSilent = errors.New("failed")

// run runs a command line to its end, and returns the exit status.
func run(ctx context.Context, args []string, sys system) int {
	root := rootCommand(sys)
	root.SetArgs(args)
	root.SetOut(sys.stdout)
	root.SetErr(sys.stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailed
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(sys.stderr, "waylumed: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(sys.stderr, "waylumed: %v\n", err)
	if isUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// isUsage tells mistakes in the command line from failures; those that cobra finds itself have no type.
func isUsage(err error) bool {
	var usage usageError
	return errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command")
}

func rootCommand(sys system) *cobra.Command {
	root := &cobra.Command{
		Use:   "waylumed",
		Short: "A VPN exit node",
		Long: `waylumed is a VPN exit node: WireGuard peers with speed limits, data caps and
isolation that hold exactly, in the Linux kernel or with no privilege.`,
		Example: `  waylumed demo        see it work, on the loopback, in 20 seconds
  waylumed doctor      what this host can do, and which dataplane it gets
  waylumed up          run a node and get a first peer's configuration
  waylumed init        settings for a node that is managed through its API`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nRun '%s --help' for what there is", err, cmd.CommandPath())}
	})
	root.AddCommand(demoCommand(sys), upCommand(sys), runCommand(sys), initCommand(sys), configCommand(sys), doctorCommand(sys),
		peersCommand(sys), accountsCommand(sys), statusCommand(sys), usageCommand(sys), eventsCommand(sys), drainCommand(sys),
		undrainCommand(sys), backupCommand(sys), stateCommand(sys), rotateKeyCommand(sys), auditCommand(sys), migrateCommand(sys), fleetCommand(sys),
		versionCommand(sys))
	return root
}

// newLogger writes what a node logs: warnings, and all there is when verbose.
func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
