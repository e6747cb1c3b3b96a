package wgclient

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// Layout of a transport message, in bytes (section 5.4.6).
const (
	counterAt   = 8
	contentAt   = 16
	paddingUnit = 16
	overhead    = contentAt + chacha20poly1305.Overhead
)

// Session is a session of one peer. Its methods may be called from any goroutine.
type Session struct {
	client        *Client
	local, remote uint32 // indices: where the server sends to, and where it is sent to
	send, receive cipher.AEAD
	counter       atomic.Uint64
}

func newSession(c *Client, local, remote uint32, send, receive [chacha20poly1305.KeySize]byte) (*Session, error) {
	s := &Session{client: c, local: local, remote: remote}
	var err error
	if s.send, err = chacha20poly1305.New(send[:]); err != nil {
		return nil, err
	}
	s.receive, err = chacha20poly1305.New(receive[:])
	return s, err
}

// Index is where the session's messages go in the server: what somebody knows who sees them.
func (s *Session) Index() uint32 { return s.remote }

// Send encrypts IP packets and sends them in their order; they are not changed. An empty one is a keepalive. It waits while the
// socket is full; what is lost on the way nobody says. At most 128 packets.
func (s *Session) Send(packets [][]byte) error {
	if len(packets) > maxBatch {
		return errors.New("wgclient: more than 128 packets at a time")
	}
	size := 0
	for _, packet := range packets {
		size += padded(len(packet)) + overhead
	}
	b := s.client.batches.Get().(*batch)
	defer s.client.batches.Put(b)
	if cap(b.space) < size {
		b.space = make([]byte, 0, size)
	}
	// One behind the other: so the bind, which joins messages by appending one to the other, moves nothing.
	space, messages := b.space[:0], b.messages[:0]
	for _, packet := range packets {
		at := len(space)
		space = s.seal(space, packet)
		messages = append(messages, space[at:])
	}
	return s.client.bind.Send(messages, s.client.server)
}

// batch is memory of one call of Send.
type batch struct {
	space    []byte
	messages [maxBatch][]byte
}

// seal appends a packet as a transport message.
func (s *Session) seal(space, packet []byte) []byte {
	at := len(space)
	counter := s.counter.Add(1) - 1
	space = binary.LittleEndian.AppendUint32(space, kindTransport)
	space = binary.LittleEndian.AppendUint32(space, s.remote)
	space = binary.LittleEndian.AppendUint64(space, counter)
	space = append(space, packet...)
	space = append(space, make([]byte, padded(len(packet))-len(packet))...)
	content := space[at+contentAt:]
	return s.send.Seal(space[:at+contentAt], nonce(counter), content, nil)
}

// open decrypts a transport message in place. What it returns has the padding yet.
func (s *Session) open(message []byte) ([]byte, error) {
	counter := binary.LittleEndian.Uint64(message[counterAt:])
	content := message[contentAt:]
	return s.receive.Open(content[:0], nonce(counter), content, nil)
}

func nonce(counter uint64) []byte {
	n := make([]byte, chacha20poly1305.NonceSize)
	binary.LittleEndian.PutUint64(n[4:], counter)
	return n
}

func padded(n int) int { return (n + paddingUnit - 1) / paddingUnit * paddingUnit }
