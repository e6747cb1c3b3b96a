package wggo

import (
	"context"
	"errors"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// SetKeys gives the device other keys: its own, and a former one or zero, with these peers and no others. A session that was made
// with one of the two keys goes on, every other one ends, also those that WireGuard itself would let a peer send in for some
// minutes more. The keys that it has change nothing. After an error it has the keys that it had, but peers may have to shake hands
// anew; unless it has failed, as its port could not be opened again.
func (d *Device) SetKeys(ctx context.Context, key, former wgtypes.Key, peers []Peer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := errors.Join(d.usableLocked(), validate(peers)); err != nil {
		return err
	}
	if key == d.key && former == d.former {
		return nil
	}
	before, formerBefore := d.key, d.former
	until, cancel := d.until(ctx)
	err := d.become(until, key, former, peers)
	cancel()
	if err == nil || d.Cause() != nil {
		return err
	}
	return errors.Join(err, d.become(d.ended, before, formerBefore, peers))
}

// become makes the device one of these keys. What can fail or takes long comes first, as long as sessions go on.
func (d *Device) become(ctx context.Context, key, former wgtypes.Key, peers []Peer) error {
	wanted := func(l *lane) bool { return l != nil && (l.key == key || l.key == former) }
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if !wanted(d.owner) && !wanted(d.guest) {
		d.dropGuest()
		first := key
		if former != (wgtypes.Key{}) {
			first = former
		}
		if err := d.rekey(first); err != nil {
			return err
		}
	}
	if err := d.replace(ctx, peers); err != nil {
		return err
	}
	var fresh *lane
	for _, k := range []wgtypes.Key{key, former} {
		if k != (wgtypes.Key{}) && d.laneOf(k) == nil {
			var err error
			if fresh, err = d.newLane(k); err != nil {
				return err
			}
		}
	}
	if !wanted(d.owner) {
		if err := d.dropOwner(); err != nil {
			if fresh != nil {
				fresh.close()
			}
			return err
		}
	} else if !wanted(d.guest) {
		d.dropGuest()
	}
	if fresh != nil {
		if err := d.admit(fresh); err != nil {
			return err
		}
	}
	d.view.Lock()
	defer d.view.Unlock()
	d.key, d.former = key, former
	return nil
}

// laneOf is the lane of a key, or nil.
func (d *Device) laneOf(key wgtypes.Key) *lane {
	for _, l := range d.lanes() {
		if l.key == key {
			return l
		}
	}
	return nil
}

// rekey gives the only lane another key, and no peers: else it would take time for each that is in the device.
func (d *Device) rekey(key wgtypes.Key) error {
	id, err := newIdentity(key)
	if err != nil {
		return err
	}
	before := d.owner.identity.Swap(nil) // nobody enters meanwhile
	for _, e := range d.reg.all() {
		e.door.Lock()
		d.reg.drop(e)
		e.door.Unlock()
	}
	if err := d.owner.dev.IpcSet(keyText(key)); err != nil {
		d.owner.identity.Store(before)
		return err
	}
	d.view.Lock()
	defer d.view.Unlock()
	d.owner.key = key
	d.owner.identity.Store(id)
	return nil
}

// replace has these peers be registered and no others.
func (d *Device) replace(ctx context.Context, peers []Peer) error {
	stay := make(map[wgtypes.Key]struct{}, len(peers))
	for _, p := range peers {
		stay[p.PublicKey] = struct{}{}
	}
	for _, e := range d.reg.all() {
		if _, ok := stay[e.key]; !ok {
			d.remove(e)
		}
	}
	return d.register(ctx, peers)
}

// admit makes a lane the guest.
func (d *Device) admit(l *lane) error {
	p := newPair(&d.reg, d.owner, l)
	if d.up {
		if err := l.dev.Up(); err != nil { // opens nothing: it waits for what the owner passes on
			l.close()
			return err
		}
	}
	d.view.Lock()
	d.guest = l
	d.view.Unlock()
	p.done.Go(p.watch)
	d.m.pair.Store(p)
	d.reg.open(l)
	return nil
}

// dropGuest has the owner go on alone.
func (d *Device) dropGuest() {
	p := d.m.pair.Load()
	if p == nil {
		return
	}
	p.end()
	d.m.pair.Store(nil)
	d.retire(d.guest)
	// Else a peer lacks its keepalives until it is set again, or comes by.
	_ = d.reg.keepAlive()
}

// dropOwner has the guest go on alone, with the port and the TUN. After an error the device has failed.
func (d *Device) dropOwner() error {
	p, old := d.m.pair.Load(), d.owner
	p.end()
	err := d.leaveTUN(old, d.guest)
	if err != nil {
		_ = d.m.tun.Close() // which it cannot be told to leave
	}
	p.gate.Lock()
	err = errors.Join(err, d.m.bequeath(d.ended, d.guest))
	p.gate.Unlock()
	d.m.pair.Store(nil)
	d.guest.in.seal()
	d.guest.out.seal()
	if err != nil {
		d.fail(err)
	}
	d.retire(old)
	_ = d.reg.keepAlive() // see dropGuest
	return err
}

// leaveTUN has a lane's device not read the TUN any more. What it is reading goes to the heir.
func (d *Device) leaveTUN(l, heir *lane) error {
	l.heir = heir
	l.leaving.Store(true)
	if err := d.m.hold(1); err != nil {
		return err
	}
	<-l.left
	return d.m.hold(-1)
}

// retire ends a lane; the other one is the owner then. What it has counted of peers is kept.
func (d *Device) retire(l *lane) {
	l.dismissed.Store(true)
	_ = l.dev.Down() // what it opened of the port is the mux's, and nothing else can fail
	d.view.Lock()
	last, err := l.report()
	if err != nil { // it cannot be: it writes to memory
		last = Status{}
	}
	d.reg.shut(l, last)
	if l == d.owner {
		d.owner = d.guest
	}
	d.guest = nil
	d.view.Unlock()
	l.dev.Close()
}
