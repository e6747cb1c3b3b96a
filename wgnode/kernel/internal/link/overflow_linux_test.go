package link

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// script is a source that says what it is told to, then waits for its end.
type script struct {
	mu     sync.Mutex
	lines  []error // nil: one change of a link
	index  uint32
	closed chan struct{}
}

func (s *script) Receive() ([]netlink.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		s.mu.Unlock()
		<-s.closed
		s.mu.Lock()
		return nil, os.ErrClosed
	}
	err := s.lines[0]
	s.lines = s.lines[1:]
	if err != nil {
		return nil, err
	}
	return []netlink.Message{
		{Header: netlink.Header{Type: unix.RTM_NEWLINK}, Data: linkMessage{index: int(s.index)}.encode()},
		{Header: netlink.Header{Type: unix.RTM_NEWLINK}, Data: []byte{1}},
		{Header: netlink.Header{Type: unix.RTM_NEWROUTE}, Data: []byte{1}},
	}, nil
}
func (s *script) SetReadDeadline(time.Time) error { return nil }
func (s *script) Close() error                    { close(s.closed); return nil }

// After an overflow everything may have changed, and the monitor goes on.
func TestMonitorOverflow(t *testing.T) {
	defer goleak.VerifyNone(t)
	overflow := &netlink.OpError{Op: "receive", Err: os.NewSyscallError("recvmsg", unix.ENOBUFS)}
	quietNow := &netlink.OpError{Op: "receive", Err: os.ErrDeadlineExceeded}
	s := &script{index: 7, lines: []error{overflow, quietNow, nil, nil, quietNow}, closed: make(chan struct{})}
	reports := make(chan Changes, 10)
	m := newMonitor(s, func(c Changes) { reports <- c })
	first := <-reports
	require.True(t, first.Lost)
	require.True(t, first.Any(Routes) && first.On(3, Links))
	second := <-reports
	require.Equal(t, Changes{Of: map[int]Kinds{7: Links}}, second)
	require.True(t, second.Any(Links) && second.On(7, Links|Routes))
	require.False(t, second.Any(Routes) || second.On(3, Links))
	require.NoError(t, m.Close())
	require.Empty(t, reports)
}

// A source that is broken makes a report now and then, and no busy loop.
func TestMonitorBroken(t *testing.T) {
	defer goleak.VerifyNone(t)
	broken := make([]error, 1000)
	for i := range broken {
		broken[i] = errors.New("broken")
	}
	s := &script{lines: broken, closed: make(chan struct{})}
	reports := make(chan Changes, 1000)
	m := newMonitor(s, func(c Changes) { reports <- c })
	require.True(t, (<-reports).Lost)
	require.NoError(t, m.Close())
	require.Less(t, len(reports), 100)
}

// The real socket's overflow: nobody reads while more comes than fits.
func TestMonitorRealOverflow(t *testing.T) {
	c := dial(t)
	l := makeLink(t, c, "wl0")
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	log := new(log)
	m, err := NewMonitor(func(changes Changes) {
		log.take(changes)
		once.Do(func() { close(entered); <-leave })
	})
	require.NoError(t, err)
	require.NoError(t, m.source.(*netlink.Conn).SetReadBuffer(4096))
	require.NoError(t, c.EnsureUp(l.Index))
	<-entered
	for range 200 {
		require.NoError(t, c.EnsureDown(l.Index))
		require.NoError(t, c.EnsureUp(l.Index))
	}
	close(leave)
	eventually(t, func() bool { _, lost := log.count(); return lost }, "the overflow")
	log.forget()
	require.NoError(t, c.EnsureDown(l.Index))
	eventually(t, func() bool { return log.on(l.Index)&Links != 0 }, "what comes after it")
	require.NoError(t, m.Close())
}
