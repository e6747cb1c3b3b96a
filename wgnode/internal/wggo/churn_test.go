package wggo

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Peers shake hands, leave, are changed and are read all at once, with one key and with two: no byte is lost from the counters, and
// everybody gets in.
func TestChurn(t *testing.T) {
	a, b := newKey(t), newKey(t)
	n := newNodeWith(t, Config{PrivateKey: a, Idle: restless, MaxActive: 5})
	steady, fickle := newPhone(t), newKey(t)
	all := append(peers(steady), Peer{PublicKey: fickle.PublicKey()})
	for range 4 {
		all = append(all, Peer{PublicKey: newKey(t).PublicKey()})
	}
	require.NoError(t, n.Set(t.Context(), nil, all))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	run := func(f func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil && ctx.Err() == nil {
					failed <- err
					return
				}
			}
		})
	}
	run(func() error { return n.Set(ctx, []wgtypes.Key{fickle.PublicKey()}, all[1:2]) })
	run(func() error { return n.Set(ctx, nil, all[:1]) })
	var last PeerStatus
	run(func() error {
		s, err := n.Status()
		for _, p := range s.Peers {
			if p.PublicKey != steady.key.PublicKey() {
				continue
			}
			if p.ReceivedBytes < last.ReceivedBytes || p.SentBytes < last.SentBytes {
				return errors.New("a counter went back")
			}
			last = p
		}
		time.Sleep(time.Millisecond)
		return err
	})
	knocks := newKnocker(t, fickle, a.PublicKey())
	w := newWire(t, n.port)
	run(func() error {
		m := knocks.next(t)
		_, err := w.Write(m[:])
		return err
	})
	keys := [][2]wgtypes.Key{{b, a}, {a, none}}
	for i := range 6 {
		require.NoError(t, n.SetKeys(ctx, keys[i%2][0], keys[i%2][1], all))
		steady.connect(a.PublicKey(), n.port)
		steady.talks()
		if i%2 == 1 {
			time.Sleep(restless + restless/2) // it leaves
		}
	}
	cancel()
	wg.Wait()
	close(failed)
	require.NoError(t, <-failed)
	n.empties()
	require.NotZero(t, n.of(steady).ReceivedBytes)
}
