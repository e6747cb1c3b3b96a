package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/waylume/waylume/internal/spell"
	"github.com/waylume/waylume/wgnode"
)

// socketsRest is how long the system must have refused no socket until that is a problem no more.
const socketsRest = time.Minute

// sockets knows whether the system gives any.
type sockets struct {
	rest time.Duration

	mu      sync.Mutex
	refused spell.Spell // guarded by mu
	last    error       // guarded by mu
}

// dial opens the host's side of a flow.
func (dp *Dataplane) dial(ctx context.Context, flow Flow) (net.Conn, error) {
	conn, err := dp.cfg.Dial(ctx, flow)
	if err != nil && isNoSocket(err, flow) {
		dp.sockets.refuse(time.Now(), err)
	}
	return conn, err
}

// isNoSocket reports that it is not the destination that is to blame. A host without IPv6 may say that it has no address of it.
func isNoSocket(err error, flow Flow) bool {
	return slices.ContainsFunc(noSocket(), func(e error) bool { return errors.Is(err, e) }) ||
		errors.Is(err, errNoPort) && flow.Destination.Addr().Is4()
}

func (s *sockets) refuse(now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused.Note(now, s.rest)
	s.last = err
}

// problems is what Stats tells.
func (s *sockets) problems(now time.Time) []wgnode.HealthProblem {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, n := s.refused.At(now, s.rest)
	if n == 0 {
		return nil
	}
	return []wgnode.HealthProblem{{Kind: wgnode.SocketsFail, Since: since, What: fmt.Sprintf("the system refused %d connections of peers "+
		"for want of sockets, the last time: %v; raise the limit of open files (ulimit -n, LimitNOFILE of systemd), or see what "+
		"else takes them, or ports, or memory", n, s.last)}}
}
