package wgdev

import (
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/waylume/waylume/wgnode/internal/wggo"
)

// steady is a TUN that says nothing of its interface going up and down, so that wireguard-go opens and closes its socket only
// when told to. Otherwise an interface that is set down and up again costs every peer its session; and as one of the native
// TUN's two listeners looks but once a second (tun_linux.go, routineHackListener), its word of the interface being down can
// come after we have set it up.
type steady struct {
	tun.Device
	events chan tun.Event
	done   sync.WaitGroup
}

var _ wggo.TUN = (*steady)(nil)

func newSteady(native tun.Device) *steady {
	s := &steady{Device: native, events: make(chan tun.Event)}
	s.done.Go(func() {
		defer close(s.events)
		for event := range native.Events() {
			if event &= tun.EventMTUUpdate; event != 0 {
				s.events <- event
			}
		}
	})
	return s
}

// Events implements [tun.Device].
func (s *steady) Events() <-chan tun.Event { return s.events }

// Interrupt implements [wggo.TUN]: a deadline that has passed wakes who reads the file, and the packet stays in it.
func (s *steady) Interrupt(on bool) error {
	var deadline time.Time
	if on {
		deadline = time.Unix(1, 0)
	}
	return s.File().SetReadDeadline(deadline)
}

// Close implements [tun.Device]; it waits for the native TUN's listeners.
func (s *steady) Close() error {
	err := s.Device.Close()
	s.done.Wait()
	return err
}
