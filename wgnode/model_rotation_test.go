package wgnode

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"
)

// TestRotationAgainstModel rotates the key with and without overlaps, ends them, lets time pass and starts nodes anew, with faults,
// and holds what is served, stored and on the disk to a model of three fields.
func TestRotationAgainstModel(t *testing.T) {
	for _, file := range []bool{false, true} {
		name := map[bool]string{false: "in store", true: "in file"}[file]
		t.Run(name, func(t *testing.T) {
			above, runs := t.TempDir(), 0
			rapid.Check(t, func(rt *rapid.T) {
				runs++
				dir := filepath.Join(above, strconv.Itoa(runs))
				require.NoError(rt, os.Mkdir(dir, 0o700))
				// What fails in the bubble's goroutine has to fail in rapid's.
				var failure any
				synctest.Test(t, func(t *testing.T) {
					d := &keyDriver{t: t, adjust: unhurried}
					if file {
						d.path = filepath.Join(dir, "node.key")
						d.adjust = func(c *Config) {
							unhurried(c)
							c.PrivateKeyFile = d.path
						}
					}
					d.rig = startRig(t, d.adjust)
					d.model.keys = d.rig.keysNow(t)
					defer func() {
						failure = recover()
						d.rig.dataplane.setHook(nil)
						d.rig.store.set(nil, nil)
						d.rig.Close()
					}()
					d.rig.add(t, PeerSpec{})
					rt.Repeat(map[string]func(*rapid.T){
						"rotate": d.rotate, "rotate again": d.rotateAgain, "end": d.end, "sleep": d.sleep, "restart": d.restart, "": d.compare,
					})
				})
				if failure != nil {
					panic(failure)
				}
			})
		})
	}
}

// keyDriver does one thing to a node and to the model.
type keyDriver struct {
	t      *testing.T
	rig    *rig
	path   string // of the key; empty: it is in the store
	adjust func(*Config)
	model  struct {
		keys
		until time.Time
	}
}

// attempt makes a call, at times with a fault in its way.
func (d *keyDriver) attempt(rt *rapid.T, call func() error) error {
	f := &fault{at: rapid.Int64Range(-6, 4).Draw(rt, "fault"), strike: func() error { return errInjected }}
	d.rig.dataplane.setHook(func(_ context.Context, name string) error {
		if name != "SetKeys" {
			return nil
		}
		return f.hit()
	})
	if rapid.Bool().Draw(rt, "store lies") {
		d.rig.store.set(nil, func([]Mutation) error { return f.hit() })
	} else {
		d.rig.store.set(func([]Mutation) error { return f.hit() }, nil)
	}
	err := call()
	d.rig.dataplane.setHook(nil)
	d.rig.store.set(nil, nil)
	return err
}

func (d *keyDriver) rotate(rt *rapid.T) {
	overlap := rapid.SampledFrom([]time.Duration{0, 0, time.Minute, 30 * time.Hour}).Draw(rt, "overlap")
	next := privateKey(d.t)
	if d.model.former != (wgtypes.Key{}) && rapid.Bool().Draw(rt, "back") {
		next = d.model.former
	}
	err := d.attempt(rt, func() error {
		_, err := d.rig.RotateKey(context.Background(), KeyRotation{PrivateKey: next, Overlap: overlap})
		return err
	})
	switch busy := overlap > 0 && d.model.former != (wgtypes.Key{}); {
	case busy:
		require.ErrorIs(rt, err, ErrKeyOverlap)
	case errors.Is(err, errInjected):
	default:
		require.NoError(rt, err)
		d.model.key, d.model.former = next, wgtypes.Key{}
		if overlap > 0 {
			d.model.former, d.model.until = d.rig.keysNow(d.t).former, time.Now().Add(overlap).UTC()
		}
	}
}

func (d *keyDriver) rotateAgain(rt *rapid.T) {
	overlap := rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(rt, "overlap")
	require.NoError(rt, d.attempt(rt, func() error {
		_, err := d.rig.RotateKey(context.Background(), KeyRotation{PrivateKey: d.model.key, Overlap: overlap})
		return err
	}))
}

func (d *keyDriver) end(rt *rapid.T) {
	err := d.attempt(rt, func() error { return d.rig.EndKeyOverlap(context.Background()) })
	if !errors.Is(err, errInjected) {
		require.NoError(rt, err)
	}
	if now := d.rig.keysNow(d.t); err == nil || now.former == (wgtypes.Key{}) {
		d.model.former = wgtypes.Key{}
	}
}

func (d *keyDriver) sleep(rt *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, 40 * time.Second, time.Hour, 20 * time.Hour}).Draw(rt, "time"))
}

func (d *keyDriver) restart(rt *rapid.T) {
	require.NoError(rt, d.rig.Close())
	d.sleep(rt)
	d.rig = newRig(d.t, d.rig.store, d.adjust)
	require.NoError(rt, d.rig.Start(context.Background()))
}

// unsettled reports that something is tried again.
func (r *rig) unsettled() bool {
	r.slot <- struct{}{}
	defer func() { <-r.slot }()
	return len(r.owed) > 0 || r.up.overlap.over
}

// compare holds the node to the model, once what failed was tried again.
func (d *keyDriver) compare(rt *rapid.T) {
	for synctest.Wait(); d.rig.unsettled(); {
		time.Sleep(d.rig.cfg.SyncPeriod)
		synctest.Wait()
	}
	time.Sleep(time.Millisecond) // beyond the moment at which something is due
	synctest.Wait()
	if !d.model.until.After(time.Now()) {
		d.model.former = wgtypes.Key{}
	}
	require.Equal(rt, d.model.keys, d.rig.keysNow(d.t))
	want := keyRecord{private: d.model.key}
	if d.path != "" {
		want = keyRecord{public: d.model.key.PublicKey()}
	}
	if d.model.former != (wgtypes.Key{}) {
		want.former = formerKey{public: d.model.former.PublicKey(), until: d.model.until}
		if d.path == "" {
			want.former.private = d.model.former
		}
	}
	known, _ := d.rig.store.keyInStore(d.t, d.model.key)
	require.Equal(rt, want, known)
	if d.path == "" {
		return
	}
	left := diskOf(d.t, d.rig.store, d.path)
	require.Equal(rt, d.model.key.String()+"\n", string(left.key))
	if d.model.former == (wgtypes.Key{}) {
		require.Nil(rt, left.former)
	} else {
		require.Equal(rt, d.model.former.String()+"\n", string(left.former))
	}
	files, err := os.ReadDir(filepath.Dir(d.path))
	require.NoError(rt, err)
	require.LessOrEqual(rt, len(files), 2, "nothing half-made lies about")
}
