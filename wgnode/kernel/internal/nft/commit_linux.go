package nft

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// BatchError says which part of a transaction the kernel refused.
type BatchError struct {
	What string
	Err  error
}

func (e *BatchError) Error() string { return fmt.Sprintf("nft: %s: %v", e.What, e.Err) }

func (e *BatchError) Unwrap() error { return e.Err }

// Commit sends a batch as one transaction: after an error nothing of it holds. An empty batch sends nothing.
func (c *Conn) Commit(b *Batch) error {
	if b.err != nil || len(b.messages) == 0 {
		return b.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	trusted := c.trusted
	c.trusted = 0
	err := c.commit(b, trusted)
	if trusted != 0 && errors.Is(err, unix.ERESTART) {
		trusted = 0 // somebody else has changed a table
		err = c.commit(b, 0)
	}
	if err == nil && trusted != 0 {
		c.trusted = following(trusted)
	}
	return err
}

// commit sends a batch, which the kernel takes only while the tables are at a generation, unless that is 0.
func (c *Conn) commit(b *Batch, generation uint32) error {
	edge := func(kind uint16) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
			Data:   header(nil, 0, unix.NFNL_SUBSYS_NFTABLES),
		}
	}
	all := append(append([]netlink.Message{edge(unix.NFNL_MSG_BATCH_BEGIN)}, b.messages...), edge(unix.NFNL_MSG_BATCH_END))
	if generation != 0 {
		all[0].Data = attr32(all[0].Data, unix.NFNL_BATCH_GENID, generation)
	}
	// The kernel answers what fails, and what asks for it: with the last one's answer, everything was said.
	all[len(all)-2].Header.Flags |= netlink.Acknowledge

	c.commits.Add(1)
	sent, err := c.socket.SendMessages(all)
	if err != nil {
		return fmt.Errorf("nft: send a transaction of %d messages: %w", len(b.messages), err)
	}
	first, last := sent[0].Header.Sequence, sent[len(sent)-2].Header.Sequence
	span := last - first // numbers go round after 32 bits
	var failed error
	for {
		answers, err := c.socket.Receive()
		var refused *netlink.OpError
		switch {
		case err == nil:
			for _, m := range answers {
				if m.Header.Sequence == last {
					return failed
				}
			}
		case !errors.As(err, &refused) || refused.Sequence == 0:
			return fmt.Errorf("nft: receive the answer to a transaction: %w", err)
		case refused.Sequence == first:
			// The transaction as a whole. An answer to the last message may come yet; a later request passes over it.
			return &BatchError{What: "commit", Err: refused.Err}
		case refused.Sequence-first <= span:
			if failed == nil {
				failed = &BatchError{What: b.what[refused.Sequence-first-1], Err: refused.Err}
			}
			if refused.Sequence == last {
				return failed
			}
		}
	}
}

// Generation is a number of the namespace's that every transaction increases, whoever sends it (base_seq in
// net/netfilter/nf_tables_api.c).
func (c *Conn) Generation() (uint32, error) {
	data, err := c.get(unix.NFT_MSG_GETGEN, 0, nil)
	if err != nil {
		return 0, fmt.Errorf("read the generation of the tables: %w", err)
	}
	var generation uint32
	walk(data, func(kind uint16, data []byte) {
		if kind == unix.NFTA_GEN_ID {
			generation = number32(data)
		}
	})
	return generation, nil
}

// following is the generation after another: none is 0.
func following(generation uint32) uint32 { return max(generation+1, 1) }

// Trust says that what there is at a generation is known. While nobody but this connection changes a table after it, and none
// of its transactions fails, [Conn.Unchanged] is true. With 0 nothing is known.
func (c *Conn) Trust(generation uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trusted = generation
}

// Unchanged reports that nobody else has changed any table since [Conn.Trust]. What the kernel itself takes away with a device
// is no change.
func (c *Conn) Unchanged() (bool, error) {
	now, err := c.Generation()
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trusted != 0 && c.trusted == now, nil
}
