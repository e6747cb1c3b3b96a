package console

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Status shows parts of some work as they begin and end: on a terminal with a line at the bottom that moves, elsewhere with
// plain lines. Its methods may be called from several goroutines at once.
type Status struct {
	console Console
	began   time.Time
	stop    chan struct{}
	drawn   sync.WaitGroup

	mu      sync.Mutex
	running []string
	frame   int
	shown   bool // the moving line is on the screen
	closed  bool
}

// NewStatus starts to draw, until Close.
func NewStatus(c Console) *Status {
	s := &Status{console: c, began: time.Now(), stop: make(chan struct{})}
	if c.Terminal {
		s.drawn.Go(s.animate)
	}
	return s
}

// Close takes the moving line away. It may be called more than once.
func (s *Status) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
		s.eraseLocked()
	}
	s.mu.Unlock()
	s.drawn.Wait()
}

// Begin says that a part begins.
func (s *Status) Begin(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, part)
	s.drawLocked()
}

// Again says why something of a part is done again.
func (s *Status) Again(part, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	words := []rune("once more: " + why)
	if room := s.console.Width - 36; s.console.Terminal && room > 0 && len(words) > room {
		words = append(words[:room], '…')
	}
	s.lineLocked("↻", part, string(words))
}

// End says that a part ended, and with what.
func (s *Status) End(part, result string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = slices.DeleteFunc(s.running, func(p string) bool { return p == part })
	s.lineLocked(s.console.Mark(ok), part, result)
}

func (s *Status) lineLocked(mark, part, words string) {
	s.eraseLocked()
	elapsed := s.console.Paint(Faint, fmt.Sprintf("%5.1f s", time.Since(s.began).Seconds()))
	fmt.Fprintf(s.console, "%s %s  %-22s %s\n", mark, elapsed, part, words)
	s.drawLocked()
}

func (s *Status) animate() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.mu.Lock()
			s.frame++
			s.drawLocked()
			s.mu.Unlock()
		}
	}
}

func (s *Status) drawLocked() {
	if !s.console.Terminal || s.closed || len(s.running) == 0 {
		return
	}
	spinner := []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}
	line := fmt.Sprintf("%s %5.1f s  %s …", spinner[s.frame%len(spinner)], time.Since(s.began).Seconds(), strings.Join(s.running, ", "))
	if width := s.console.Width; width > 0 && utf8.RuneCountInString(line) >= width {
		line = string([]rune(line)[:width-1])
	}
	fmt.Fprintf(s.console, "\r%s\x1b[K", s.console.Paint(Faint, line))
	s.shown = true
}

func (s *Status) eraseLocked() {
	if s.shown {
		fmt.Fprint(s.console, "\r\x1b[K")
		s.shown = false
	}
}
