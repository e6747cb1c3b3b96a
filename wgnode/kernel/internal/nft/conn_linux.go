package nft

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Buffers of the socket, in bytes: a transaction is one send, and its acknowledgements must fit.
const (
	sendBuffer    = 64 << 20
	receiveBuffer = 16 << 20
	// What one message of the kernel's has at most. Of a dump it gives as much at once as the reader has room for, and it
	// searches for the place to go on from, each time.
	messageBuffer = 64 << 10
)

// maxDumps is how often a dump is tried that somebody's change interrupts.
const maxDumps = 20

// Socket is what a [Conn] needs of a netlink socket; *netlink.Conn has it.
type Socket interface {
	SendMessages([]netlink.Message) ([]netlink.Message, error)
	Receive() ([]netlink.Message, error)
	Close() error
}

// Conn is a connection to nftables. Its methods may be called from several goroutines; one request is under way at a time.
type Conn struct {
	mu      sync.Mutex
	socket  Socket
	port    uint32
	commits atomic.Uint64
	// trusted is the generation of the tables as this connection left them, or 0.
	trusted uint32
}

// Dial opens a connection in the calling thread's network namespace. It needs CAP_NET_ADMIN.
func Dial() (*Conn, error) {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: messageBuffer})
	if err != nil {
		return nil, fmt.Errorf("nft: open a netlink socket: %w", err)
	}
	err = errors.Join(
		socket.SetWriteBuffer(sendBuffer), socket.SetReadBuffer(receiveBuffer),
		socket.SetOption(netlink.CapAcknowledge, true),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nft: set up a netlink socket: %w", err), socket.Close())
	}
	return &Conn{socket: socket, port: socket.PID()}, nil
}

// NewConn returns a connection over any socket, as tests want it.
func NewConn(s Socket) *Conn { return &Conn{socket: s} }

// Close closes the connection.
func (c *Conn) Close() error { return c.socket.Close() }

// Port is the connection's netlink port, by which its own changes are told from others'.
func (c *Conn) Port() uint32 { return c.port }

// Commits is the number of transactions sent.
func (c *Conn) Commits() uint64 { return c.commits.Load() }

// dump asks for everything of a kind. Each answer is given to yield while the dump is complete or not: yield must take a
// second run from the beginning, which reset announces.
func (c *Conn) dump(kind uint16, family Family, data []byte, reset func(), yield func(data []byte)) error {
	for range maxDumps {
		reset()
		whole, err := c.dumpOnce(kind, family, data, yield)
		if err != nil || whole {
			return err
		}
	}
	return fmt.Errorf("nft: the tables change faster than they can be read: %w", unix.EINTR)
}

func (c *Conn) dumpOnce(kind uint16, family Family, data []byte, yield func(data []byte)) (whole bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent, err := c.socket.SendMessages([]netlink.Message{{
		Header: netlink.Header{
			Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | netlink.Dump,
		},
		Data: append(header(nil, family, 0), data...),
	}})
	if err != nil {
		return false, fmt.Errorf("nft: send a request: %w", err)
	}
	whole = true
	for {
		answers, err := c.socket.Receive()
		var refused *netlink.OpError
		if errors.As(err, &refused) && refused.Sequence != 0 && refused.Sequence != sent[0].Header.Sequence {
			continue // of a former request
		}
		switch {
		case errors.Is(err, unix.EINTR):
			return false, nil
		case errors.Is(err, unix.ENOENT):
			return true, nil // no such table or set: nothing is in it
		case err != nil:
			return false, fmt.Errorf("nft: receive an answer: %w", err)
		}
		// One call returns a dump as a whole, but what a former request left may come before it.
		if len(answers) > 0 && answers[0].Header.Sequence != sent[0].Header.Sequence {
			continue
		}
		for _, m := range answers {
			whole = whole && m.Header.Flags&netlink.HeaderFlags(unix.NLM_F_DUMP_INTR) == 0
			if m.Header.Type>>8 == unix.NFNL_SUBSYS_NFTABLES && len(m.Data) >= 4 {
				yield(m.Data[4:])
			}
		}
		return whole, nil
	}
}

// get asks for one thing. It is an error that matches os.ErrNotExist if that is not there.
func (c *Conn) get(kind uint16, family Family, data []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent, err := c.socket.SendMessages([]netlink.Message{{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request},
		Data:   append(header(make([]byte, 0, 4+len(data)), family, 0), data...),
	}})
	if err != nil {
		return nil, fmt.Errorf("nft: send a request: %w", err)
	}
	for sequence := sent[0].Header.Sequence; ; {
		answers, err := c.socket.Receive()
		var refused *netlink.OpError
		switch {
		case err == nil:
			for _, m := range answers {
				if m.Header.Sequence == sequence && m.Header.Type>>8 == unix.NFNL_SUBSYS_NFTABLES && len(m.Data) >= 4 {
					return m.Data[4:], nil
				} // else of a former request
			}
		case !errors.As(err, &refused) || refused.Sequence == 0:
			return nil, fmt.Errorf("nft: receive an answer: %w", err)
		case refused.Sequence != sequence: // of a former request
		case errors.Is(err, unix.ENOENT):
			return nil, os.ErrNotExist
		default:
			return nil, fmt.Errorf("nft: receive an answer: %w", err)
		}
	}
}
