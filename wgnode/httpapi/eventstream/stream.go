package eventstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/waylume/waylume/wgnode"
)

// maxBatch is how many bytes are gathered before they are written, maxEvents how many events are looked at meanwhile.
const (
	maxBatch  = 32 << 10
	maxEvents = 1024
)

var (
	errClosing = errors.New("the server is closing")
	errRenewed = errors.New("it has changed who may read")
)

// stream is one client's.
type stream struct {
	h        *Handler
	w        http.ResponseWriter
	rc       *http.ResponseController
	question question
	sub      *wgnode.Subscription
	out      bytes.Buffer
}

// serve writes events until it cannot, or there are no more.
func (s *stream) serve(ctx context.Context) error {
	missed := s.subscribe()
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx
	s.w.WriteHeader(http.StatusOK)
	fmt.Fprintf(&s.out, "retry: %d\n", s.h.cfg.Retry.Milliseconds())
	if missed { // no place before it: a client that is cut off here is to hear of it with the next stream
		s.put(Event{Kind: Missed, Boot: s.h.boot, Time: time.Now().UTC(), Reason: OtherBoot})
	} else {
		s.place()
	}
	if err := s.flush(); err != nil {
		return err
	}
	polled, end := context.WithCancel(ctx)
	end()
	for {
		err := s.gather(ctx, polled)
		switch {
		case err == nil:
		case errors.Is(err, wgnode.ErrClosed):
			return s.end(NodeClosed)
		case errors.Is(context.Cause(ctx), errClosing):
			return s.end(ServerClosing)
		case errors.Is(context.Cause(ctx), errRenewed):
			return s.end(Renewed)
		case ctx.Err() != nil:
			return context.Cause(ctx) // the client has gone
		default:
			s.out.WriteString(": keep-alive\n")
			s.place()
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// subscribe finds the client's place, and reports whether it was of another boot: then it gets all that is kept of this one.
func (s *stream) subscribe() (missed bool) {
	if s.question.lastID == "" {
		s.sub = s.h.cfg.Node.Subscribe()
		return false
	}
	after, ok := parseID(s.question.lastID, s.h.boot)
	if !ok {
		after = 0
	}
	s.sub = s.h.cfg.Node.SubscribeAfter(after)
	return !ok
}

// gather waits until there is an event that is asked for, and takes what there is besides. Polled is a context that has ended. An
// error is that there was none for so long that the client is to hear from the stream, or that there will be none.
func (s *stream) gather(ctx, polled context.Context) error {
	wait, cancel := context.WithTimeout(ctx, s.h.cfg.KeepAlive)
	defer cancel()
	for n := 0; s.out.Len() == 0 || s.out.Len() < maxBatch && n < maxEvents; n++ {
		until := wait
		if s.out.Len() > 0 {
			until = polled
		}
		e, err := s.sub.Next(until)
		switch {
		case err != nil && s.out.Len() > 0:
			return nil // the next call has it again
		case err != nil:
			return err
		case s.question.wants(e):
			s.put(eventOf(e, s.h.boot))
		case wait.Err() != nil: // nothing that is asked for comes, and it is time to say so
			return context.Cause(wait)
		}
	}
	return nil
}

func (s *stream) end(reason string) error {
	s.put(Event{Kind: End, Boot: s.h.boot, Time: time.Now().UTC(), Reason: reason})
	return s.flush()
}

// place tells the client where it is, without an event, so that it goes on from there.
func (s *stream) place() { fmt.Fprintf(&s.out, "id: %s\n\n", formatID(s.h.boot, s.sub.After())) }

func (s *stream) put(e Event) {
	data, err := json.Marshal(e)
	if err != nil { // strings, numbers and times always can
		panic(err)
	}
	fmt.Fprintf(&s.out, "id: %s\ndata: %s\n\n", formatID(s.h.boot, s.sub.After()), data)
}

// flush sends what was gathered, or fails if the client does not take it in time.
func (s *stream) flush() error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.h.cfg.WriteTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(s.out.Bytes()); err != nil {
		return err
	}
	s.out.Reset()
	return s.rc.Flush()
}
