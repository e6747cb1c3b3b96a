package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
)

// exitService is the process of an exit.
type exitService struct {
	notify func(event)
	dp     wgnode.Dataplane
	device *plainDevice // bare and stock
}

func newExitService() *exitService { return new(exitService) }

func (s *exitService) tell(f func(event)) { s.notify = f }

func (s *exitService) answer(r request) (answer reply, err error) {
	ctx := context.Background()
	switch {
	case r.Kind == askStart:
		answer.Port, err = s.start(ctx, r.Exit)
	case s.dp == nil:
		err = fmt.Errorf("%s: %w by this kind of exit", r.Kind, errors.ErrUnsupported)
	case r.Kind == askApply:
		err = s.dp.Apply(ctx, r.Change)
	case r.Kind == askStats:
		answer.Stats, err = s.dp.Stats(ctx, r.Query)
	default:
		err = fmt.Errorf("%s: %w", r.Kind, errors.ErrUnsupported)
	}
	return answer, err
}

func (s *exitService) start(ctx context.Context, o exitOrder) (port uint16, err error) {
	var dp wgnode.Dataplane
	switch o.Dataplane {
	case bare, stock:
		s.device, port, err = startPlain(o)
		return port, err
	case inUserspace:
		dp, err = userspace.New(userspace.Config{Limits: o.Limits})
	case inKernel:
		dp, err = kernel.New(kernel.Config{Interface: "wl0", Driver: kernel.DriverTUN, Uplink: farLink})
	default:
		err = fmt.Errorf("no dataplane is called %q", o.Dataplane)
	}
	if err != nil {
		return 0, err
	}
	info, err := dp.Start(ctx, wgnode.DataplaneConfig{
		PrivateKey: o.Private, MTU: tunnelMTU, Addresses: prefixes(gateway4, gateway6), Pool: masked(prefixes(gateway4, gateway6)),
		Notify: s.heard, Logger: slog.New(slog.DiscardHandler),
	}, o.State)
	if err != nil {
		return 0, err
	}
	s.dp = dp
	return info.ListenPort, nil
}

func (s *exitService) heard(e wgnode.DataplaneEvent) {
	told := event{Kind: e.Kind, Peer: e.Peer, Account: e.Account, At: time.Now()}
	if e.Err != nil {
		told.Err = e.Err.Error()
	}
	s.notify(told)
}

func (s *exitService) close() error {
	if s.device != nil {
		s.device.Close()
	}
	if s.dp == nil {
		return nil
	}
	return s.dp.Close()
}
