package kernel

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

const (
	// poll is how often quotas are looked at without an event, in case one was lost unseen.
	poll = 30 * time.Second
	// pollRest is how many times as long as a look took passes before the next at least.
	pollRest = 20
	// sweep is how often flows of former peers are ended that conntrack would not end at first.
	sweep = 2 * time.Second
)

// watchers listen for what the kernel and others do.
type watchers struct {
	tables *nft.Monitor
	links  *link.Monitor
	stop   context.CancelFunc
	done   chan struct{}
}

// events are what watchers heard, for the one goroutine that acts on it.
type events struct {
	quotas    chan string
	look      chan struct{} // at all quotas
	disturbed chan struct{} // perhaps
	touched   chan struct{} // certainly
}

// watch begins to listen.
func (dp *Dataplane) watch() (*watchers, error) {
	e := events{quotas: make(chan string, 4096), look: make(chan struct{}, 1), disturbed: make(chan struct{}, 1), touched: make(chan struct{}, 1)}
	nudge := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	dp.foreign.Store(true)
	inet, netdev := rules.Tables(dp.cfg.Interface)
	tables, err := nft.NewMonitor(dp.nft.Port(), func(event nft.Event) {
		switch {
		case event.Lost:
			dp.hearing.overflow(time.Now())
			dp.foreign.Store(true)
			nudge(e.look)
			nudge(e.touched)
		case event.Quota != "" && event.Table.Name == inet.Name: // the family is the packet's
			select {
			case e.quotas <- event.Quota:
			default:
				nudge(e.look)
			}
		case event.Quota != "": // another table's
		case event.Table != inet && event.Table != netdev:
			dp.foreign.Store(true)
			nudge(e.disturbed) // another firewall may be in the way now
		default:
			nudge(e.touched)
		}
	})
	if err != nil {
		return nil, err
	}
	links, err := link.NewMonitor(func(c link.Changes) {
		if c.Any(link.Qdiscs) {
			nudge(e.touched)
		} else if c.Any(link.Links | link.Addresses | link.Routes) {
			nudge(e.disturbed)
		}
	})
	if err != nil {
		return nil, errors.Join(err, tables.Close())
	}
	links.Watch(dp.link.Index, dp.ifb.Index)
	ctx, cancel := context.WithCancel(context.Background())
	w := &watchers{tables: tables, links: links, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		dp.attend(ctx, e)
	}()
	return w, nil
}

func (w *watchers) close() error {
	w.stop()
	<-w.done
	return errors.Join(w.tables.Close(), w.links.Close())
}

// attend acts on events until ctx ends.
func (dp *Dataplane) attend(ctx context.Context, e events) {
	sweeper := time.NewTicker(sweep)
	defer sweeper.Stop()
	due := time.NewTimer(dp.poll)
	defer due.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case name := <-e.quotas:
			dp.hearing.said(name)
			_, err = dp.quotaUsedUp(ctx, name)
		case <-e.look:
			err = dp.lookAtQuotas(ctx)
		case <-due.C:
			began := time.Now()
			err = dp.lookAtQuotas(ctx)
			due.Reset(max(dp.poll, pollRest*time.Since(began)))
		case <-sweeper.C:
			err = dp.forgetVacated(ctx)
		case <-e.disturbed:
			err = dp.lookAround(ctx)
		case <-e.touched:
			err = dp.distrust(ctx)
		}
		if err != nil && ctx.Err() == nil {
			dp.fixed.Logger.Error("the kernel dataplane could not act on an event", "error", err)
		}
	}
}

// enterQuietly waits for the turn, whatever the state.
func (dp *Dataplane) enterQuietly(ctx context.Context) error {
	select {
	case dp.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forgetVacated ends the flows of former peers' addresses.
func (dp *Dataplane) forgetVacated(ctx context.Context) error {
	if err := dp.enterQuietly(ctx); err != nil {
		return err
	}
	defer dp.leave()
	if dp.life != isRunning {
		return nil
	}
	return dp.forgetFlows(ctx, slices.Collect(maps.Keys(dp.vacated)))
}

// notify tells the node, from a goroutine of its own: a lock may be held.
func (dp *Dataplane) notify(who []subject) {
	for _, s := range slices.Clone(who) {
		event := wgnode.DataplaneEvent{Kind: wgnode.BudgetReached, Peer: s.key, Account: s.account}
		dp.tasks.Go(func() { dp.fixed.Notify(event) })
	}
}

// lookAround checks whether what is ours is as it was left, and tells the node if it is not.
func (dp *Dataplane) lookAround(ctx context.Context) error {
	if err := dp.enterQuietly(ctx); err != nil {
		return err
	}
	intact, err := dp.intact()
	running := dp.life == isRunning
	if running {
		dp.watchers.links.Watch(dp.link.Index, dp.ifb.Index) // they may have been made anew
	}
	dp.leave()
	if err != nil || intact || !running {
		return err
	}
	dp.notifyDisturbed()
	return nil
}

// distrust has the next sync read the tables, whatever their generation says, and tells the node.
func (dp *Dataplane) distrust(ctx context.Context) error {
	if err := dp.enterQuietly(ctx); err != nil {
		return err
	}
	dp.nft.Trust(0)
	dp.leave()
	dp.notifyDisturbed()
	return nil
}

func (dp *Dataplane) notifyDisturbed() {
	dp.tasks.Go(func() { dp.fixed.Notify(wgnode.DataplaneEvent{Kind: wgnode.DataplaneDisturbed}) })
}
