package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/auditlog"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

func auditCommand(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Verify and show the log of changes",
		Long: `Audit looks at the log of every change: who asked for it, what it was, and what
became of it. The node may run or not; nothing is changed.`,
		Example: `  waylumed audit verify /var/lib/waylume/audit.log
  waylumed audit show /var/lib/waylume/audit.log --since 2026-11-21`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("say what to do with the audit log\nRun 'waylumed audit --help' for what there is")}
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(auditVerifyCommand(sys), auditShowCommand(sys))
	return cmd
}

func auditVerifyCommand(sys system) *cobra.Command {
	var keyFile, head string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Say whether an audit log is as it was written",
		Long: `Verify reads an audit log, its directory or one segment of it, and says what was
changed, removed or reordered since it was written, and of which changes it is
unknown what became of them.

What was cut off at the end is found against the file "head" beside the segments,
or, where somebody may have changed that too, against a head that was noted
elsewhere: --head. A log that was written with a key is verified with it.

The exit status is 0 if the log is as it was written, 1 if it is not or cannot be
read. With --json the result is one object, of which no field is renamed or
removed.`,
		Example: `  waylumed audit verify /var/lib/waylume/audit.log
  waylumed audit verify /var/lib/waylume/audit.log --key-file audit.key --head 4711:9f86d0...`,
		Args: files(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var opts audit.VerifyOptions
			if head != "" {
				noted, err := audit.ParseHead(head)
				if err != nil {
					return usageError{fmt.Errorf("--head: %w", err)}
				}
				opts.Head = &noted
			}
			if keyFile != "" {
				var err error
				if opts.Key, err = audit.ReadKey(keyFile); err != nil {
					return err
				}
			}
			report, err := audit.Verify(args[0], opts)
			if errors.Is(err, audit.ErrKey) && keyFile == "" {
				return fmt.Errorf("%w\nName its file with --key-file", err)
			}
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(sys.stdout)
				encoder.SetIndent("", "  ")
				err = encoder.Encode(auditlog.Verdict{Sound: report.Sound(), Report: report})
			} else {
				err = auditlog.WriteReport(sys.stdout, report)
			}
			if err == nil && !report.Sound() {
				return errSilent
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&keyFile, "key-file", "", "`file` with the key that the log was written with")
	flags.StringVar(&head, "head", "", "a `head` that was noted elsewhere, as SEQUENCE:HASH")
	flags.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func auditShowCommand(sys system) *cobra.Command {
	var since string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what an audit log has",
		Long: `Show prints an audit log, its directory or one segment of it: a line for each
change, when its result is known, with who asked and from where; those without a
result come last. It verifies nothing.

Times are RFC 3339, as 2026-11-21T06:00:00Z, or a date, which is its midnight in
UTC.

With --json each record is a line as the log has it, intents and results apart.`,
		Example: `  waylumed audit show /var/lib/waylume/audit.log --since 2026-11-21T06:00:00Z`,
		Args:    files(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var from time.Time
			if since != "" {
				var err error
				if from, err = parseTime(since); err != nil {
					return usageError{fmt.Errorf("--since: %q is not a time: give one as 2026-11-21T06:00:00Z, or a date", since)}
				}
			}
			if asJSON {
				return auditlog.WriteJSON(sys.stdout, args[0], from)
			}
			return auditlog.Write(sys.stdout, args[0], from)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&since, "since", "", "show what was written at this `time` or later")
	flags.BoolVar(&asJSON, "json", false, "print each record as a line of JSON")
	return cmd
}
