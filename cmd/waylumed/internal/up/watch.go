package up

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

const (
	// pollPeriod is how often handshakes are looked at, which are no events.
	pollPeriod = 2 * time.Second
	// sessionLife is how long a WireGuard session lasts without a new handshake (REJECT_AFTER_TIME in the WireGuard paper).
	sessionLife = 180 * time.Second
)

// watch prints what happens, a line each, until the context ends or the node does, and then what was used.
func (r *runner) watch(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan wgnode.Event)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(events)
		for event := range r.events.All(watching) {
			select {
			case events <- event:
			case <-watching.Done():
				return
			}
		}
	}()
	defer func() { <-done }()
	defer cancel()

	connected := make(map[wgtypes.Key]bool)
	ticker := time.NewTicker(pollPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.farewell()
		case event, ok := <-events:
			if !ok && ctx.Err() == nil {
				return fmt.Errorf("the node stopped: %w", errors.Join(r.node.Wait()))
			}
			if line := r.describe(event); line != "" {
				r.say(event.Time, line)
			}
		case now := <-ticker.C:
			r.poll(ctx, now, connected)
		}
	}
}

func (r *runner) say(at time.Time, line string) {
	fmt.Fprintf(r.Out, "%s  %s\n", at.Format(time.TimeOnly), line)
}

// poll tells of peers that connected, and of those whose session is over. When that cannot be read, the node tells of the
// problem, and goes on.
func (r *runner) poll(ctx context.Context, now time.Time, connected map[wgtypes.Key]bool) {
	stats, err := r.node.AllPeerStats(ctx)
	if err != nil {
		return
	}
	for _, s := range stats {
		is := !s.LastHandshake.IsZero() && now.Sub(s.LastHandshake) < sessionLife
		switch was := connected[s.PublicKey]; {
		case is && !was:
			r.say(now, fmt.Sprintf("%s connected from %s", r.called(s.PublicKey), s.Endpoint))
		case was && !is:
			r.say(now, fmt.Sprintf("%s has gone quiet", r.called(s.PublicKey)))
		}
		connected[s.PublicKey] = is
	}
}

// called is a peer's name.
func (r *runner) called(key wgtypes.Key) string {
	p, err := r.node.Peer(key)
	if err != nil {
		p = wgnode.Peer{PublicKey: key}
	}
	return name(p)
}

func localTime(t time.Time) string { return t.Local().Format(time.DateTime) }

// describe says what happened in words, or nothing for what the person has seen already.
func (r *runner) describe(e wgnode.Event) string {
	who := "account " + e.Account
	if e.Peer != (wgtypes.Key{}) {
		who = r.called(e.Peer)
	}
	switch e.Kind {
	case wgnode.NodeStarted, wgnode.PeerAdded, wgnode.AccountAdded, wgnode.NodeClosed, 0:
		return ""
	case wgnode.NodeRekeyed:
		if !e.OverlapEnds.IsZero() {
			return fmt.Sprintf("The node has another key. Every device needs it as PublicKey under [Peer] by %s: %s", localTime(e.OverlapEnds), e.NodeKey)
		}
		return fmt.Sprintf("The node has another key. Every device needs it as PublicKey under [Peer]: %s", e.NodeKey)
	case wgnode.KeyOverlapEnded:
		return fmt.Sprintf("Devices that know the node by its former key %s cannot connect any more", e.FormerNodeKey)
	case wgnode.UsageThreshold:
		return fmt.Sprintf("%s has used %d %% of its data cap: %s of %s", who, e.Percent, amount(uint64(e.Usage.Used)), amount(uint64(e.Usage.Limit)))
	case wgnode.CapReached:
		return fmt.Sprintf("%s has used up its data cap of %s", who, amount(uint64(e.Usage.Limit)))
	case wgnode.PeriodStarted:
		return fmt.Sprintf("%s begins a new period with %s", who, amount(uint64(e.Usage.Limit)))
	case wgnode.PeerRemoved:
		return fmt.Sprintf("%s was removed: %s", who, e.Reason)
	case wgnode.ProblemBegan:
		return fmt.Sprintf("%s %s: %s", r.Out.Mark(false), e.Problem.Kind.Area(), e.Problem.What)
	case wgnode.ProblemOver:
		return fmt.Sprintf("%s %s: %s is over, which began at %s", r.Out.Mark(true), e.Problem.Kind.Area(), e.Problem.Kind,
			localTime(e.Problem.Since))
	case wgnode.Missed:
		return fmt.Sprintf("%d events were too fast to be shown", e.Count)
	}
	return e.String()
}

// farewell says what was used; closing the node, which writes it, is up to Run.
func (r *runner) farewell() error {
	// The context that ended says nothing about how long reading counters may take.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Fprintln(r.Out, "\nStopping.")
	for _, p := range slices.Collect(r.node.Peers(wgnode.ListOptions{})) {
		usage, err := r.node.Usage(ctx, wgnode.OfPeer(p.PublicKey))
		if err != nil {
			return err
		}
		fmt.Fprintf(r.Out, "  %-12s received %s, sent %s\n", name(p), amount(usage.Counters.Download), amount(usage.Counters.Upload))
	}
	fmt.Fprintf(r.Out, "State is in %s; the same command goes on from there.\n", r.Settings.State)
	return nil
}
