package wggo

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Everything at once, and a Close at any moment of it, leaves nothing behind; TestMain looks for goroutines.
func TestCloseAtAnyMoment(t *testing.T) {
	for i := range 12 {
		a, b := newKey(t), newKey(t)
		n := newNodeWith(t, Config{PrivateKey: a, Idle: time.Duration(1+i) * 8 * time.Millisecond, MaxActive: 1 + i%2})
		p := newPhone(t)
		all := append(peers(p), manyPeers(100)...)
		require.NoError(t, n.Set(t.Context(), nil, all))
		p.connect(a.PublicKey(), n.port)
		p.says(moment) // unless it has left, or another is wanted, before it could speak
		var wg sync.WaitGroup
		run := func(f func() error) {
			wg.Go(func() {
				for {
					if err := f(); errors.Is(err, ErrClosed) {
						return
					}
				}
			})
		}
		ended := make(chan struct{})
		wg.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					p.tun.put(packet(p.addr, gateway, lastNumber.Add(1)))
					n.tun.put(packet(gateway, p.addr, lastNumber.Add(1)))
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
		turn := [][2]wgtypes.Key{{b, a}, {a, none}, {b, a}, {b, none}, {a, b}, {a, none}}
		next := 0
		run(func() error {
			keys := turn[next%len(turn)]
			next++
			return n.SetKeys(t.Context(), keys[0], keys[1], all)
		})
		run(func() error { return n.Set(t.Context(), []wgtypes.Key{all[5].PublicKey}, all[5:6]) })
		run(func() error {
			_, err := n.Status()
			if err != nil {
				return err
			}
			select {
			case <-n.ended.Done():
				return ErrClosed
			default:
				return nil
			}
		})
		time.Sleep(time.Duration(i) * 7 * time.Millisecond)
		n.Close()
		n.Close()
		close(ended)
		wg.Wait()
		p.off()
	}
}
