package wgclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// ErrUnderLoad is what a handshake fails with that the server answers with a cookie: it has too many at a time.
var ErrUnderLoad = errors.New("wgclient: the server is under load and asks for a cookie")

// maxBatch is how many messages are sent or received at a time.
const maxBatch = conn.IdealBatchSize

// Client is a UDP socket for the sessions of any number of peers with one server. Its methods may be called from any goroutine.
type Client struct {
	bind    conn.Bind
	server  conn.Endpoint
	key     wgtypes.Key
	receive func(*Session, [][]byte)
	batches sync.Pool // of *batch
	running sync.WaitGroup

	mu       sync.RWMutex
	last     uint32                   // index; guarded by mu, as all below
	sessions map[uint32]*Session      // by the index that the server sends to
	waiting  map[uint32]chan<- []byte // for the second message of a handshake
}

// Dial opens a socket to send to a server whose public key this is. What sessions receive is given to receive, some packets of one
// session at a time, from the goroutine that reads: those of one address family come in their order. It must not keep them; they may
// have zeros at the end, which are no part of the IP packet.
func Dial(server netip.AddrPort, key wgtypes.Key, receive func(*Session, [][]byte)) (*Client, error) {
	c := &Client{
		bind: conn.NewDefaultBind(), key: key, receive: receive, batches: sync.Pool{New: func() any { return new(batch) }},
		sessions: make(map[uint32]*Session), waiting: make(map[uint32]chan<- []byte),
	}
	var err error
	if c.server, err = c.bind.ParseEndpoint(server.String()); err != nil {
		return nil, err
	}
	sockets, _, err := c.bind.Open(0)
	if err != nil {
		return nil, err
	}
	for _, socket := range sockets {
		c.running.Go(func() { c.read(socket) })
	}
	return c, nil
}

// Close ends all sessions and joins the goroutines that read. It does nothing when it is called again.
func (c *Client) Close() error {
	err := c.bind.Close()
	c.running.Wait()
	return err
}

// Handshake begins a session of the peer that has a private key; preshared is zero for none. It sends the first message once, waits
// for the second, and confirms the session with a keepalive, as the server does not use it before (section 5.1). It can be tried
// again 20 ms later: more often a server does not listen to a peer.
func (c *Client) Handshake(ctx context.Context, private, preshared wgtypes.Key) (*Session, error) {
	answer := make(chan []byte, 1)
	c.mu.Lock()
	c.last++
	index := c.last
	c.waiting[index] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, index)
	}()

	h, message, err := newHandshake(private, preshared, c.key, index, time.Now())
	if err != nil {
		return nil, fmt.Errorf("wgclient: %w", err)
	}
	if err := c.bind.Send([][]byte{message}, c.server); err != nil {
		return nil, fmt.Errorf("wgclient: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wgclient: no answer to a handshake: %w", ctx.Err())
	case message = <-answer:
	}
	if messageKind(message) == kindCookieReply {
		return nil, ErrUnderLoad
	}
	send, receive, err := h.finish(message)
	if err != nil {
		return nil, fmt.Errorf("wgclient: %w", err)
	}
	s, err := newSession(c, index, binary.LittleEndian.Uint32(message[4:]), send, receive)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.sessions[index] = s
	c.mu.Unlock()
	return s, s.Send([][]byte{nil})
}

// Forget ends a session. The server is not told, as there is nothing to tell it.
func (c *Client) Forget(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s.local)
}

func (c *Client) read(socket conn.ReceiveFunc) {
	bufs, sizes, eps := make([][]byte, maxBatch), make([]int, maxBatch), make([]conn.Endpoint, maxBatch)
	for i := range bufs {
		bufs[i] = make([]byte, 1<<16-1) // what the system merges needs as much
	}
	packets := make([][]byte, 0, maxBatch)
	for {
		n, err := socket(bufs, sizes, eps)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // what a message before has caused: the server is not there
		}
		var of *Session
		for i, buf := range bufs[:n] {
			s, packet := c.take(buf[:sizes[i]])
			if s == nil || len(packet) == 0 {
				continue
			}
			if s != of && len(packets) > 0 {
				c.receive(of, packets)
				packets = packets[:0]
			}
			of, packets = s, append(packets, packet)
		}
		if len(packets) > 0 {
			c.receive(of, packets)
			packets = packets[:0]
		}
	}
}

// take returns what a transport message has for its session. Messages of the handshake go to who waits for them.
func (c *Client) take(message []byte) (*Session, []byte) {
	if len(message) < overhead {
		return nil, nil
	}
	switch kind := messageKind(message); {
	case kind == kindTransport:
		c.mu.RLock()
		s := c.sessions[binary.LittleEndian.Uint32(message[4:])]
		c.mu.RUnlock()
		if s == nil {
			return nil, nil
		}
		packet, err := s.open(message)
		if err != nil {
			return nil, nil // somebody else's
		}
		return s, packet
	case kind == kindResponse && len(message) == responseSize:
		c.answer(binary.LittleEndian.Uint32(message[8:]), message)
	case kind == kindCookieReply && len(message) == cookieReplySize:
		c.answer(binary.LittleEndian.Uint32(message[4:]), message)
	}
	return nil, nil
}

func (c *Client) answer(index uint32, message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.waiting[index]; ok {
		delete(c.waiting, index)
		answer <- append([]byte(nil), message...) // it has room for one
	}
}

func messageKind(message []byte) uint32 { return binary.LittleEndian.Uint32(message) }
