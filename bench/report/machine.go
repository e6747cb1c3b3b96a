package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine is where, when and from what the figures are.
type machine struct {
	// System is the kernel's name and release: "Linux 6.18.44".
	System     string `json:"system"`
	Processors int    `json:"processors"`
	// Processor is the model, as go test knows it.
	Processor string `json:"processor,omitempty"`
	Go        string `json:"go"`
	Commit    string `json:"commit,omitempty"`
	Command   string `json:"command,omitempty"`
	// Began and Ended are moments as RFC 3339 has them.
	Began string `json:"began,omitempty"`
	Ended string `json:"ended,omitempty"`
	// Clock is what time is measured by where it is not the machine's: the load is nothing to it.
	Clock string `json:"clock,omitempty"`
	// LoadBefore and LoadAfter are how many processes ran or wanted to in the minute before; "" where the system does not say.
	LoadBefore string `json:"load_before,omitempty"`
	LoadAfter  string `json:"load_after,omitempty"`
}

// field is one thing about the machine, and how a comment calls it.
type field struct {
	comment string
	text    *string
}

// before and after are what is known before the first figure, and after the last.
func (m *machine) before() []field {
	return []field{
		{commentSystem, &m.System}, {"go", &m.Go}, {"commit", &m.Commit}, {"command", &m.Command}, {"began", &m.Began}, {"load-before", &m.LoadBefore},
	}
}

func (m *machine) after() []field {
	return []field{{"ended", &m.Ended}, {"load-after", &m.LoadAfter}}
}

// atHand is the machine that this runs on, before the first figure.
func atHand(commit, command string) *machine {
	return &machine{
		System: system(), Processors: runtime.NumCPU(), Go: runtime.Version(), Commit: commit, Command: command,
		Began: now(), LoadBefore: load(),
	}
}

// end takes what is known after the last figure.
func (m *machine) end() {
	m.Ended, m.LoadAfter = now(), load()
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// load is the mean of the last minute, where the system has it in a file.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// What a program that runs elsewhere says of the system there, and of how many processors it has.
const (
	commentSystem     = "system"
	commentProcessors = "processors"
	commentClock      = "clock"
)

// comments writes fields as comments, so that the report can be made again from what is kept, on another machine.
func comments(w io.Writer, fields []field) error {
	for _, f := range fields {
		if *f.text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "# %s: %s\n", f.comment, *f.text); err != nil {
			return err
		}
	}
	return nil
}

// writeBefore and writeAfter write what stands at both ends of what is kept.
func (m *machine) writeBefore(w io.Writer) error {
	if err := comments(w, m.before()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "# %s: %d\n", commentProcessors, m.Processors)
	return err
}

func (m *machine) writeAfter(w io.Writer) error { return comments(w, m.after()) }

// recorded is the machine that comments tell of.
func recorded(comments map[string]string) (*machine, error) {
	m := &machine{}
	for _, f := range append(m.before(), m.after()...) {
		*f.text = comments[f.comment]
	}
	return m, m.hear(comments)
}

// hear takes what comments say of the system that was measured: it need not be the one that this runs on.
func (m *machine) hear(comments map[string]string) error {
	if system, ok := comments[commentSystem]; ok {
		m.System = system
	}
	m.Clock = comments[commentClock]
	if text, ok := comments[commentProcessors]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("# %s: %q is not a number of processors", commentProcessors, text)
		}
		m.Processors = n
	}
	return nil
}

// write is the first lines of a report.
func (m *machine) write(w io.Writer, rounds int) {
	or := func(text string) string {
		if text == "" {
			return "unknown"
		}
		return text
	}
	when := fmt.Sprintf("load of the machine %s before, %s after", or(m.LoadBefore), or(m.LoadAfter))
	if m.Clock != "" {
		when = "time is " + m.Clock
	}
	fmt.Fprintf(w, "\n%s, %s%s; %s; %s; commit %s; %s\n", or(m.System), count(m.Processors, "processor"), prefixed(" (", m.Processor, ")"),
		when, or(m.Go), or(m.Commit), plural(rounds, "round"))
	if n, err := strconv.ParseFloat(m.LoadBefore, 64); err == nil && m.Clock == "" && n > float64(m.Processors)/2 {
		fmt.Fprintln(w, "Others were at work on the machine: figures are lower than they could be, and ratios uncertain.")
	}
}

func prefixed(before, text, after string) string {
	if text == "" {
		return ""
	}
	return before + text + after
}

func plural(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return count(n, what) + ", medians"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
