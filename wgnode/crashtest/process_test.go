package crashtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long anything may take that nobody kills.
const patience = 30 * time.Second

// errKilled is what a request to a process ends with that died before it answered.
var errKilled = errors.New("the process was killed")

// process is one life.
type process struct {
	cmd       *exec.Cmd
	born      time.Time
	complaint strings.Builder
	ready     chan ready    // has one entry when the node has started
	ended     chan struct{} // closed when all that it said was heard
	died      time.Time     // when ended was closed

	in sync.Mutex // requests are written whole
	to *json.Encoder

	mu    sync.Mutex
	calls map[int]chan answer // guarded by mu: who waits
	last  int                 // guarded by mu
	err   error               // guarded by mu: what it said that is none of the protocol
}

// start starts a process; the mirror hears what it says.
func start(o order, dir string, m *mirror) (*process, error) {
	asked, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{
		cmd: exec.Command(self), ready: make(chan ready, 1), ended: make(chan struct{}), calls: make(map[int]chan answer),
	}
	p.cmd.Env = append(os.Environ(), orderVariable+"="+string(asked), "TMPDIR="+dir, "GOTRACEBACK=all")
	p.cmd.Stderr = &p.complaint
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.to = json.NewEncoder(stdin)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.reading = time.Time{}
	p.born = now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.listen(stdout, m)
	return p, nil
}

// listen hears the process out: what it said before it was killed was said.
func (p *process) listen(stdout io.Reader, m *mirror) {
	defer func() {
		p.died = now()
		close(p.ended)
	}()
	for lines := json.NewDecoder(bufio.NewReader(stdout)); ; {
		var l line
		err := lines.Decode(&l)
		p.mu.Lock()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				p.err = fmt.Errorf("hear the process: %w", err)
			}
			for _, waiting := range p.calls {
				close(waiting)
			}
			p.calls = nil
			p.mu.Unlock()
			return
		}
		m.hear(l)
		if l.Ready != nil {
			p.ready <- *l.Ready
		}
		if l.Answer != nil {
			p.calls[l.Answer.ID] <- *l.Answer
			delete(p.calls, l.Answer.ID)
		}
		p.mu.Unlock()
	}
}

// call asks and waits for the answer, or until the process has died: errKilled.
func (p *process) call(o operation) (answer, error) {
	waiting := make(chan answer, 1)
	p.mu.Lock()
	if p.calls == nil {
		p.mu.Unlock()
		return answer{}, errKilled
	}
	p.last++
	id := p.last
	p.calls[id] = waiting
	p.mu.Unlock()

	p.in.Lock()
	err := p.to.Encode(request{id, o})
	p.in.Unlock()
	if err != nil { // it does not read any more, and may yet have answered others
		<-p.ended
		return answer{}, errKilled
	}
	select {
	case a, ok := <-waiting:
		if !ok {
			return answer{}, errKilled
		}
		return a, nil
	case <-time.After(patience):
		p.dump()
		return answer{}, fmt.Errorf("%s was not answered in %v", describe(o), patience)
	}
}

// pause waits, unless the process ends.
func (p *process) pause(d time.Duration) {
	select {
	case <-p.ended:
	case <-time.After(d):
	}
}

// dump has a process that hangs end with the stacks of its goroutines, which are then part of the error.
func (p *process) dump() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it is killed thereafter, whatever comes of that
	select {
	case <-p.ended:
	case <-time.After(patience):
	}
}

// close closes the node.
func (p *process) close() error {
	a, err := p.call(operation{Kind: closing})
	if err == nil && a.Condition != made {
		err = fmt.Errorf("close the node: %s", a.Error)
	}
	return err
}

// waitInPeace waits for the end of a process that was closed. That it was killed then means nothing.
func (p *process) waitInPeace() error {
	<-p.ended
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && !exit.Exited() {
		return nil
	}
	return err
}

// kill kills the process, unless it is dead, and waits for its end. It returns an error if it ended by itself.
func (p *process) kill() error {
	_ = p.cmd.Process.Kill() // it may be dead already
	<-p.ended
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var exit *exec.ExitError
	switch {
	case p.err != nil:
		return p.err
	case err == nil:
		return errors.New("the process ended by itself")
	case !errors.As(err, &exit) || exit.Exited():
		return fmt.Errorf("the process ended by itself: %w: %s", err, p.complaint.String())
	}
	return nil
}
