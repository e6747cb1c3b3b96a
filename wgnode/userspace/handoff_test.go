package userspace

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/shaping"
)

// TestHandoffLosesNothing has several writers wait for one slow reader.
func TestHandoffLosesNothing(t *testing.T) {
	const writers, each = 4, 3 * handoffPackets
	h := newHandoff()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; i < each; i += 3 {
				pkts := make([]*shaping.Packet, 3)
				for j := range pkts {
					pkts[j] = &shaping.Packet{Data: binary.BigEndian.AppendUint32(nil, uint32(w<<24|(i+j)))}
				}
				h.push(pkts)
			}
		})
	}
	next := make([]int, writers)
	batch := make([]*shaping.Packet, 7)
	for got := 0; got < writers*each; {
		n, err := h.pop(batch)
		require.NoError(t, err)
		for _, pkt := range batch[:n] {
			v := int(binary.BigEndian.Uint32(pkt.Data))
			require.Equal(t, next[v>>24], v&0xffffff, "order of writer %d", v>>24)
			next[v>>24]++
		}
		got += n
	}
	wg.Wait()
}

func TestHandoffCloseLetsEverybodyGo(t *testing.T) {
	h := newHandoff()
	var wg sync.WaitGroup
	wg.Go(func() { h.push(make([]*shaping.Packet, 0)) })
	wg.Go(func() {
		pkts := make([]*shaping.Packet, 2*handoffPackets) // more than there is room for
		for i := range pkts {
			pkts[i] = new(shaping.Packet)
		}
		h.push(pkts)
	})
	h.close()
	wg.Wait()
	n, err := h.pop(make([]*shaping.Packet, 1))
	require.Zero(t, n)
	require.ErrorIs(t, err, os.ErrClosed)
	h.push([]*shaping.Packet{new(shaping.Packet)}) // freed, not kept
	require.Zero(t, h.n)
	h.close()
}

// Who holds the handoff has a reader that waits return, and loses nothing.
func TestHandoffHold(t *testing.T) {
	h := newHandoff()
	ended := make(chan error)
	go func() {
		_, err := h.pop(make([]*shaping.Packet, 1))
		ended <- err
	}()
	h.hold(true)
	require.ErrorIs(t, <-ended, os.ErrDeadlineExceeded)
	h.push([]*shaping.Packet{new(shaping.Packet)})
	_, err := h.pop(make([]*shaping.Packet, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	h.hold(false)
	n, err := h.pop(make([]*shaping.Packet, 2))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	h.close()
}
