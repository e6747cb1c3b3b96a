package bench

import (
	"encoding/gob"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// patience is how long anything may take that is not measured.
const patience = 60 * time.Second

// process is this program again, in the role of an exit or of a client. It ends with its input.
type process struct {
	cmd       *exec.Cmd
	stdin     io.Closer
	complaint strings.Builder // read only when the process has ended
	ended     chan struct{}   // closed when all that it said was heard

	in sync.Mutex // requests are written whole
	to *gob.Encoder

	mu     sync.Mutex
	calls  map[int]chan reply // guarded by mu: who waits; nil when the process says no more
	last   int                // guarded by mu
	events []event            // guarded by mu
}

// role says how to start a process.
type role struct {
	name string
	in   *netns.Namespace
	// Without privilege it is user and group 65534, with no capability.
	privileged bool
	files      []*os.File // descriptors from 3 on
	env        []string
}

// startProcess starts a process that ends with the benchmark at the latest.
func startProcess(tb testing.TB, r role) *process {
	tb.Helper()
	p := &process{ended: make(chan struct{}), calls: make(map[int]chan reply), cmd: exec.Command("/proc/self/exe")}
	p.cmd.Args[0] = "bench-" + r.name
	p.cmd.Env = append(append(os.Environ(), roleVariable+"="+r.name), r.env...)
	p.cmd.Stderr, p.cmd.ExtraFiles = &p.complaint, r.files
	if !r.privileged {
		const nobody = 65534
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	stdin, err := p.cmd.StdinPipe()
	require.NoError(tb, err)
	p.stdin, p.to = stdin, gob.NewEncoder(stdin)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(tb, err)
	r.in.Do(tb, p.cmd.Start)
	go p.listen(stdout)
	tb.Cleanup(func() { p.stop(tb) })
	return p
}

// listen hears the process out.
func (p *process) listen(stdout io.Reader) {
	defer close(p.ended)
	for lines := gob.NewDecoder(stdout); ; {
		var m message
		err := lines.Decode(&m)
		p.mu.Lock()
		switch {
		case err != nil:
			for _, waiting := range p.calls {
				close(waiting)
			}
			p.calls = nil
			p.mu.Unlock()
			return
		case m.Event != nil:
			m.Event.Heard = time.Now()
			p.events = append(p.events, *m.Event)
		case m.Reply != nil:
			p.calls[m.Reply.ID] <- *m.Reply
			delete(p.calls, m.Reply.ID)
		}
		p.mu.Unlock()
	}
}

// call asks and waits for the answer. It may be called from several goroutines of the benchmark's; an error ends the benchmark.
func (p *process) call(tb testing.TB, r request) reply {
	tb.Helper()
	answer, err := p.ask(r)
	require.NoError(tb, err, r.Kind)
	return answer
}

// usage is what the process takes of the machine now.
func (p *process) usage(tb testing.TB) usage {
	tb.Helper()
	return p.call(tb, request{Kind: askUsage}).Usage
}

func (p *process) ask(r request) (reply, error) {
	waiting := make(chan reply, 1)
	p.mu.Lock()
	if p.calls == nil {
		p.mu.Unlock()
		return reply{}, errors.New("the process has ended")
	}
	p.last++
	r.ID = p.last
	p.calls[r.ID] = waiting
	p.mu.Unlock()

	p.in.Lock()
	err := p.to.Encode(r)
	p.in.Unlock()
	if err != nil {
		return reply{}, err
	}
	timer := time.NewTimer(patience + r.Duration)
	defer timer.Stop()
	select {
	case answer, ok := <-waiting:
		switch {
		case !ok:
			return reply{}, errors.New("the process has ended: " + p.last40())
		case answer.Err != "":
			return reply{}, errors.New(answer.Err)
		}
		return answer, nil
	case <-timer.C:
		return reply{}, errors.New("no answer in time")
	}
}

// last40 are the first lines of what a process that has ended complained of.
func (p *process) last40() string {
	_ = p.cmd.Wait() // what it complained of says more
	lines := strings.Split(p.complaint.String(), "\n")
	return strings.Join(lines[:min(len(lines), 40)], "\n")
}

// stop ends the process by the end of its input, or kills one that does not heed it.
func (p *process) stop(tb testing.TB) {
	_ = p.stdin.Close() // it may have ended
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // for the stacks of what hangs
		<-p.ended
	}
	if err := p.cmd.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) && !strings.Contains(err.Error(), "already called") {
		tb.Errorf("a process ended with %v: %s", err, p.complaint.String())
	}
}
