package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// patience is how long anything may take that nobody kills.
const patience = 30 * time.Second

// running is what up shows when a node has started.
const running = "Running. Ctrl-C stops it."

// program is the daemon as it is built.
type program struct{ path, state string }

// build makes it.
func build(ctx context.Context, dir, state string) (program, error) {
	p := program{filepath.Join(dir, "waylumed"), state}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", p.path, "github.com/waylume/waylume/cmd/waylumed")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return program{}, fmt.Errorf("build waylumed: %w: %s", err, out)
	}
	return p, nil
}

// outcome is how a command ended.
type outcome struct {
	status         int
	stdout, stderr string
}

// run runs a command to its end. It is an error if it does not come to one by itself, or in panic.
func (p program) run(args ...string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	o := outcome{cmd.ProcessState.ExitCode(), out.String(), complaint.String()}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return o, err
	}
	if o.status < 0 || o.status > 1 || strings.Contains(o.stderr, "goroutine ") {
		return o, fmt.Errorf("waylumed %s ended with status %d: %s", strings.Join(args, " "), o.status, o.stderr)
	}
	return o, nil
}

// must runs a command that has to succeed.
func (p program) must(args ...string) (outcome, error) {
	o, err := p.run(args...)
	if err == nil && o.status != 0 {
		err = fmt.Errorf("waylumed %s: %s%s", strings.Join(args, " "), o.stdout, o.stderr)
	}
	return o, err
}

// life is one process that runs a node.
type life struct {
	cmd     *exec.Cmd
	born    time.Time
	died    time.Time
	started chan struct{} // closed when up says that it runs
	ended   chan struct{} // closed when the process has ended
	screen  screen
}

// screen is what a process writes, looked through for one text.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen func()
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	if s.seen != nil && strings.Contains(s.text.String(), running) {
		s.seen()
		s.seen = nil
	}
	return len(b), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// up starts a node.
func (p program) up(state string) (*life, error) {
	l := &life{born: time.Now(), started: make(chan struct{}), ended: make(chan struct{})}
	l.screen.seen = func() { close(l.started) }
	l.cmd = exec.Command(p.path, "up", "--state", state, "--dataplane", "userspace", "--listen-port", fmt.Sprint(port),
		"--endpoint", "127.0.0.1", "--no-qr", "--usage-log", "1m")
	l.cmd.Stdout, l.cmd.Stderr = &l.screen, &l.screen
	l.cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = l.cmd.Wait() // how it ended, its state says
		l.died = time.Now()
		close(l.ended)
	}()
	return l, nil
}

// kill kills the process, and returns an error if it had ended by itself.
func (l *life) kill() error {
	_ = l.cmd.Process.Kill()
	<-l.ended
	if l.cmd.ProcessState.Exited() {
		return fmt.Errorf("waylumed ended by itself: %v: %s", l.cmd.ProcessState, l.screen.String())
	}
	return nil
}

// end ends the process in peace.
func (l *life) end() error {
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-l.ended:
	case <-time.After(patience):
		return errors.Join(errors.New("waylumed has not ended"), l.kill())
	}
	if !l.cmd.ProcessState.Success() {
		return fmt.Errorf("waylumed ended with %v: %s", l.cmd.ProcessState, l.screen.String())
	}
	return nil
}
