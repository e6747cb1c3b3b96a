package wggo

import (
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/device"
)

// flood sends bursts of messages from many addresses until it is told to stop, which joins it. Each is more than puts a gate under
// load, and less than its queue: a peer's message is lost among them now and then, not nearly always.
func flood(t *testing.T, port uint16, messages [][]byte) (sent *atomic.Int64, stop func()) {
	t.Helper()
	var wires []*net.UDPConn
	for i := range 16 {
		from := &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}
		socket, err := net.DialUDP("udp4", from, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = socket.Close() })
		wires = append(wires, socket)
	}
	sent = new(atomic.Int64)
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !over.Load() {
			for _, w := range wires {
				for range 3 * gateLoad / len(wires) {
					_, _ = w.Write(messages[int(sent.Add(1))%len(messages)]) // what is refused is lost
				}
			}
			time.Sleep(underLoad / 5)
		}
	})
	return sent, func() {
		over.Store(true)
		wg.Wait()
	}
}

// Under a flood of initiations with a right first MAC from strangers' addresses, nothing is kept of them, the device never comes under
// load, so that it asks for no cookie of its own, and a peer gets in.
func TestFloodOfStrangers(t *testing.T) {
	key := newKey(t)
	n := newNode(t, key, none)
	p := newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, append(manyPeers(1000), peers(p)...)))
	var messages [][]byte
	for i := range 100 {
		from := newKey(t).PublicKey()
		if i%2 == 0 {
			from = manyPeers(100)[i].PublicKey // as if from a peer
		}
		m := forged(t, key.PublicKey(), from)
		messages = append(messages, m[:])
	}
	sent, stop := flood(t, n.port, messages)
	defer stop()
	require.Eventually(t, n.m.gate.underLoad, patience, time.Millisecond)
	goroutines, held := runtime.NumGoroutine(), inUse()
	p.connect(key.PublicKey(), n.port)
	var asked atomic.Bool
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				asked.CompareAndSwap(false, n.owner.dev.IsUnderLoad())
			}
		}
	})
	require.True(t, p.says(3*patience), "the peer does not get in")
	close(done)
	wg.Wait()
	require.False(t, asked.Load(), "the device is under load")
	require.Equal(t, 1, n.active())
	n.reg.mu.RLock()
	remembered := 0
	for e := range n.reg.peers.All() {
		if e.was != nil {
			remembered++
		}
	}
	n.reg.mu.RUnlock()
	require.Equal(t, 1, remembered)
	require.Less(t, runtime.NumGoroutine(), goroutines+100) // the phone's and the peer's own
	require.Less(t, inUse()-held, 100e6)                    // the phone's included
	t.Logf("%d messages of strangers", sent.Load())
}

// Answers that nobody waits for, with a right first MAC, do not put the device under load, either.
func TestFloodOfAnswers(t *testing.T) {
	key := newKey(t)
	n := newNode(t, key, none)
	p := newPhone(t)
	require.NoError(t, n.Set(t.Context(), nil, peers(p)))
	var macs device.CookieGenerator
	macs.Init(device.NoisePublicKey(key.PublicKey()))
	var messages [][]byte
	for i := range uint32(100) {
		response := make([]byte, device.MessageResponseSize)
		response[0] = device.MessageResponseType
		binary.LittleEndian.PutUint32(response[8:], i*7919)
		macs.AddMacs(response)
		cookie := make([]byte, device.MessageCookieReplySize)
		cookie[0] = device.MessageCookieReplyType
		binary.LittleEndian.PutUint32(cookie[4:], i*7919)
		messages = append(messages, response, cookie)
	}
	sent, stop := flood(t, n.port, messages)
	defer stop()
	p.connect(key.PublicKey(), n.port)
	p.talks()
	for range 200 {
		require.False(t, n.owner.dev.IsUnderLoad())
		time.Sleep(time.Millisecond)
	}
	t.Logf("%d answers", sent.Load())
}

// Of answers to a handshake that there is, no more reach the device than it can take.
func TestAnswersAreLimited(t *testing.T) {
	var reg registry
	g := newGate(&reg, nil)
	defer g.limit.Close()
	l := &lane{present: make(map[*entry]*presence)}
	reg.open(l)
	l.indices.add(5, time.Now())
	message := make([]byte, device.MessageResponseSize)
	message[0] = device.MessageResponseType
	pass := func(index uint32) bool {
		binary.LittleEndian.PutUint32(message[8:], index)
		sizes := []int{len(message)}
		g.sift([][]byte{message}, sizes, nil)
		return sizes[0] > 0
	}
	require.False(t, pass(6))
	passed, began := 0, time.Now()
	for range 10 * answersBurst {
		if pass(5) {
			passed++
		}
	}
	require.GreaterOrEqual(t, passed, answersBurst)
	require.LessOrEqual(t, passed, answersBurst+int(answersRate*time.Since(began).Seconds())+1)
}

// A peer's own client proves its address under load, and is then limited for each address.
func TestCookies(t *testing.T) {
	key, own := newKey(t), newKey(t)
	n := newNode(t, key, none)
	require.NoError(t, n.Set(t.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
	k, w := newKnocker(t, own, key.PublicKey()), newWire(t, n.port)
	n.m.gate.loaded.Store(time.Now().Add(time.Hour).UnixNano())
	m := k.next(t)
	_, err := w.Write(m[:])
	require.NoError(t, err)
	b := make([]byte, device.MaxMessageSize)
	size, err := w.Read(b)
	require.NoError(t, err)
	require.Equal(t, device.MessageCookieReplySize, size)
	reply := device.MessageCookieReply{Type: messageType(b), Receiver: binary.LittleEndian.Uint32(b[4:])}
	require.Equal(t, binary.LittleEndian.Uint32(m[initiationIndex:]), reply.Receiver)
	copy(reply.Nonce[:], b[8:])
	copy(reply.Cookie[:], b[8+len(reply.Nonce):])
	require.True(t, k.macs.ConsumeReply(&reply))
	require.Zero(t, n.active())
	require.EqualValues(t, device.MessageResponseType, w.answer(k.next(t), patience))
	stranger := newWire(t, n.port) // another port is the same address only with that port's cookie
	require.EqualValues(t, device.MessageCookieReplyType, stranger.answer(k.next(t), patience))
}
