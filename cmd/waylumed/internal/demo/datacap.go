package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// capTest is a data cap to be run into; each attempt has a peer of its own, so that counting starts at nothing.
type capTest struct {
	lab    *lab
	name   string
	from   *site // sends
	speed  shaping.Rate
	amount quota.Bytes
	slow   shaping.Rate // what a throttle falls to
}

// join adds the peer, with a cap on what it downloads: that is what can be counted at the other end, packet by packet.
func (t *capTest) join(ctx context.Context, atEnd quota.Action) (*speedTest, error) {
	limit := quota.Cap{Bytes: t.amount, Counted: quota.CountDownload, AtEnd: atEnd}
	if atEnd == quota.Throttle {
		limit.ThrottleDownload = uint64(t.slow)
	}
	c, err := t.lab.join(ctx, wgnode.PeerSpec{Name: t.name, SpeedLimit: shaping.Limit{Download: t.speed}, DataCap: limit})
	if err != nil {
		return nil, err
	}
	return &speedTest{client: c, transport: networkTCP, source: t.from}, nil
}

// reached waits until the node says that the peer's cap is used up.
func (t *capTest) reached(ctx context.Context, events *wgnode.Subscription, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for event := range events.All(ctx) {
		if event.Kind == wgnode.CapReached && event.Peer == c.peer.PublicKey {
			return nil
		}
	}
	return fmt.Errorf("the cap was not reached: %w", context.Cause(ctx))
}

// block measures a cap that cuts off.
func (t *capTest) block(ctx context.Context, row *Cap) (err error) {
	row.Peer, row.CapBytes = t.name, uint64(t.amount)
	events := t.lab.node.Subscribe()
	p, err := t.join(ctx, quota.Block)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.lab.leave(p.client)) }()
	stop, err := p.receive(ctx, 2)
	if err != nil {
		return err
	}
	defer stop()
	if err := t.reached(ctx, events, p.client); err != nil {
		return err
	}
	sleep(ctx, 100*time.Millisecond) // for what is between the node and the client
	witness := p.client.tap.received().bytes
	stats, err := t.lab.node.PeerStats(ctx, p.client.peer.PublicKey)
	if err != nil {
		return err
	}
	sleep(ctx, 600*time.Millisecond) // server and client go on trying
	later, err := t.lab.node.PeerStats(ctx, p.client.peer.PublicKey)
	if err != nil {
		return err
	}
	row.NodeBytes, row.WitnessBytes = stats.Counters.Download, witness
	row.AfterBytes = later.Counters.Of(quota.CountBoth) - stats.Counters.Of(quota.CountBoth) + p.client.tap.received().bytes - witness
	row.judge()
	return nil
}

// judge compares what was counted.
func (row *Cap) judge() {
	most := max(row.NodeBytes, row.WitnessBytes)
	row.OvershootBytes = most - min(most, row.CapBytes)
	row.UnusedBytes = row.CapBytes - min(row.CapBytes, row.NodeBytes)
	row.expect(row.OvershootBytes == 0, "%d bytes passed beyond the cap", row.OvershootBytes)
	row.expect(row.NodeBytes == row.WitnessBytes, "the node counted %d bytes and the client %d", row.NodeBytes, row.WitnessBytes)
	row.expect(row.UnusedBytes < wgnode.DefaultMTU, "%d bytes of the cap were left, which is more than a packet", row.UnusedBytes)
	row.expect(row.AfterBytes == 0, "%d bytes passed after the cut", row.AfterBytes)
}

// throttle measures a cap that slows down: the rate on the way to the cap, and the rate after it.
func (t *capTest) throttle(ctx context.Context, row *Throttle) (err error) {
	row.Peer, row.CapBytes = t.name, uint64(t.amount)
	events := t.lab.node.Subscribe()
	p, err := t.join(ctx, quota.Throttle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.lab.leave(p.client)) }()
	stop, err := p.receive(ctx, 1)
	if err != nil {
		return err
	}
	defer stop()
	sleep(ctx, settle)
	began, before := time.Now(), p.client.tap.received()
	if err := t.reached(ctx, events, p.client); err != nil {
		return err
	}
	fast := p.client.tap.received().since(before)
	row.Before = newRate(t.speed, fast.bytes, fast.payload, time.Since(began))
	row.within("before the cap", row.Before, tolerance)

	first, last, d, err := span(ctx, settleSlowing, p.client.tap.received)
	if err != nil {
		return err
	}
	slow := last.since(first)
	row.After = newRate(t.slow, slow.bytes, slow.payload, d)
	row.within("after the cap", row.After, tolerance)
	return nil
}
