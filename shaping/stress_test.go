package shaping

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stressLeaf is what Output knows of a leaf. It has no lock: Output is called for one leaf by one goroutine at a time, and the
// race detector would tell if it were not.
type stressLeaf struct {
	last    map[uint32]uint64
	wrong   string
	packets uint64
}

// TestStress does everything at once, in real time.
func TestStress(t *testing.T) {
	const (
		leaves    = 20
		producers = 6
		d         = 1500 * time.Millisecond
	)
	s, err := NewScheduler(Config{Memory: 1 << 20, Output: func(packets []*Packet) {
		for _, p := range packets {
			l := p.Owner.(*stressLeaf)
			l.packets++
			seq := uint64(binary.BigEndian.Uint32(p.Data))
			if last, ok := l.last[p.Flow]; ok && seq <= last {
				l.wrong = fmt.Sprintf("flow %d: %d after %d", p.Flow, seq, last)
			}
			l.last[p.Flow] = seq
			p.Free()
		}
		if rand.IntN(200) == 0 {
			time.Sleep(time.Millisecond)
		}
	}})
	require.NoError(t, err)
	s.packets.live = new(atomic.Int64)
	s.Start()

	var (
		mu     sync.Mutex
		owners = map[*Leaf]*stressLeaf{}
	)
	set := func(id string) error {
		mu.Lock()
		defer mu.Unlock()
		l, err := s.SetLeaf(id, []string{"", "a", "b"}[rand.IntN(3)], rates[rand.IntN(7)])
		if err == nil && owners[l] == nil {
			owners[l] = &stressLeaf{last: map[uint32]uint64{}}
		}
		return err
	}
	require.NoError(t, s.SetGroup("a", 50e6))
	require.NoError(t, s.SetGroup("b", 5e6))
	for i := range leaves {
		require.NoError(t, set(strconv.Itoa(i)))
	}

	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	var wg sync.WaitGroup
	var enqueued atomic.Uint64
	for producer := range producers {
		wg.Go(func() {
			var seq uint32
			packets := make([]*Packet, 0, 40)
			for running() {
				l, ok := s.Leaf(strconv.Itoa(rand.IntN(leaves)))
				if !ok {
					continue
				}
				mu.Lock()
				owner := owners[l]
				mu.Unlock()
				packets = packets[:0]
				for range 1 + rand.IntN(cap(packets)) {
					seq++
					p := s.NewPacket(60 + rand.IntN(1400))
					p.Owner, p.Flow = owner, uint32(producer)
					binary.BigEndian.PutUint32(p.Data, seq)
					packets = append(packets, p)
				}
				enqueued.Add(uint64(len(packets)))
				l.Enqueue(packets...)
				l.Unshaped()
				l.Stats()
			}
		})
	}
	failure := make(chan error, 1)
	wg.Go(func() {
		for running() {
			var err error
			id := strconv.Itoa(rand.IntN(leaves))
			switch rand.IntN(6) {
			case 0:
				err = s.SetRoot(rates[rand.IntN(7)])
			case 1:
				err = s.SetGroup([]string{"a", "b"}[rand.IntN(2)], rates[rand.IntN(7)])
			case 2:
				s.RemoveLeaf(id)
				err = set(id)
			default:
				err = errors.Join(set(id), set(id))
			}
			if err != nil {
				failure <- err
				return
			}
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		}
	})
	wg.Wait()
	s.Close()
	select {
	case err := <-failure:
		require.NoError(t, err)
	default:
	}
	var sent, dropped uint64
	for l, owner := range owners {
		require.Empty(t, owner.wrong)
		st := l.Stats()
		require.Zero(t, st.BacklogPackets)
		require.Equal(t, owner.packets, st.SentPackets)
		sent += st.SentPackets
		dropped += st.DroppedPackets
	}
	t.Logf("%d packets sent, %d dropped", sent, dropped)
	require.NotZero(t, sent)
	require.Equal(t, enqueued.Load(), sent+dropped)
	require.Zero(t, s.packets.live.Load(), "packets leaked")
	require.Zero(t, s.memory.queued.Load())
}
