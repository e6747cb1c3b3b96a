package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// The codes to exit with.
const (
	exitOK = iota
	// exitFailed: something failed, nothing was measured, or with -strict an aim was missed.
	exitFailed
	exitUsage
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// options are the command line.
type options struct {
	json, raw, commit, command string
	strict                     bool
	input                      string // empty: the standard input, as it comes
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := options{}.parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		return exitUsage // package flag has said why
	}
	good, err := o.report(stdin, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "report:", err)
		return exitFailed
	}
	if !good {
		return exitFailed
	}
	return exitOK
}

func (o options) parse(args []string, stderr io.Writer) (options, error) {
	f := flag.NewFlagSet("report", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: go test -v -run '^$' -bench . ... | report [flags]; report [flags] FILE")
		f.PrintDefaults()
	}
	f.StringVar(&o.json, "json", "", "a `file` to write all figures, ratios and aims to")
	f.StringVar(&o.raw, "raw", "", "a `file` to keep the input in, with what the report says of the machine; benchstat reads it")
	f.StringVar(&o.commit, "commit", "", "what is measured, for the report")
	f.StringVar(&o.command, "command", "", "how, for the report")
	f.BoolVar(&o.strict, "strict", false, "fail when an aim is missed")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch f.NArg() {
	case 0:
		return o, nil
	case 1:
		o.input = f.Arg(0)
		if o.raw != "" || o.commit != "" || o.command != "" {
			err := errors.New("-raw, -commit and -command are of figures that are measured now; a file has its own")
			fmt.Fprintln(stderr, "report:", err)
			return o, err
		}
		return o, nil
	default:
		err := errors.New("one file at most")
		fmt.Fprintln(stderr, "report:", err)
		return o, err
	}
}

// report reads, shows and writes. It is not good if something failed, nothing was measured, or an aim was missed that must not be.
func (o options) report(stdin io.Reader, stdout io.Writer) (good bool, err error) {
	r := newResults()
	where, err := o.read(r, stdin, stdout)
	if err != nil {
		return false, err
	}
	if len(r.subjects) == 0 {
		return false, errors.Join(errors.New("no figures"), errorsOf(r.failures))
	}
	where.Processor = r.comments[commentProcessor]
	filled, aims := show(stdout, where, r)
	if o.json != "" {
		if err := writeFile(o.json, newDocument(where, r, filled, aims).write); err != nil {
			return false, err
		}
	}
	good = len(r.failures) == 0
	for _, j := range aims {
		if o.strict && j.verdict() == missed {
			good = false
		}
	}
	return good, nil
}

// read takes all figures, from a file that was kept or as they come.
func (o options) read(r *results, stdin io.Reader, stdout io.Writer) (_ *machine, err error) {
	if o.input != "" {
		f, err := os.Open(o.input)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		if err := parse(f, r); err != nil {
			return nil, err
		}
		return recorded(r.comments)
	}
	where := atHand(o.commit, o.command)
	if o.raw == "" {
		err := parse(io.TeeReader(stdin, stdout), r)
		where.end()
		return where, errors.Join(err, where.hear(r.comments))
	}
	err = writeFile(o.raw, func(raw io.Writer) error {
		if err := where.writeBefore(raw); err != nil {
			return err
		}
		if err := parse(io.TeeReader(stdin, io.MultiWriter(stdout, raw)), r); err != nil {
			return err
		}
		where.end()
		return errors.Join(where.hear(r.comments), where.writeAfter(raw))
	})
	return where, err
}

// writeFile makes a file of what write writes.
func writeFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

// filledTable is a table with its rows.
type filledTable struct {
	table
	rows []row
}

// show writes a report.
func show(w io.Writer, where *machine, r *results) (filled []filledTable, aims []judged) {
	where.write(w, r.rounds())
	type place struct {
		*subject
		unit string
	}
	shown := map[place]bool{}
	for _, t := range tables() {
		rows := t.fill(r, func(s *subject, unit string) { shown[place{s, unit}] = true })
		t.write(w, rows)
		filled = append(filled, filledTable{t, rows})
	}
	writeRest(w, r, func(s *subject, unit string) bool { return shown[place{s, unit}] })
	for _, a := range allAims() {
		aims = append(aims, a.judge(r))
	}
	writeAims(w, aims)
	for _, s := range r.skips {
		fmt.Fprintf(w, "\nLeft out: %s: %s\n", s.Name, s.Reason)
	}
	for _, line := range r.failures {
		fmt.Fprintf(w, "\nFAILED: %s\n", line)
	}
	return filled, aims
}

func errorsOf(lines []string) error {
	all := make([]error, len(lines))
	for i, line := range lines {
		all[i] = errors.New(line)
	}
	return errors.Join(all...)
}
