package userspace

import (
	"encoding/binary"
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
		n := h.pop(batch)
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
	require.Zero(t, h.pop(make([]*shaping.Packet, 1)))
	h.push([]*shaping.Packet{new(shaping.Packet)}) // freed, not kept
	require.Zero(t, h.n)
	h.close()
}
