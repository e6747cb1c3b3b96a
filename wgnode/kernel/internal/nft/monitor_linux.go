package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Event is one thing that happened to a table, by whomever but the connection that the monitor passes over.
type Event struct {
	Table Table
	// Port is the netlink port of who changed the table; 0 for the kernel itself.
	Port uint32
	// Quota is the name of a quota that is used up; then Port is 0.
	Quota string
	// Lost: the kernel had more to say than could be kept, and anything may have happened. Nothing else is set then.
	Lost bool
}

// Monitor tells what happens to the tables of a network namespace.
type Monitor struct {
	socket *netlink.Conn
	report func(Event)
	once   sync.Once
	closed chan struct{}
	done   chan struct{}
}

// NewMonitor begins to listen, and from then on calls report from one goroutine. Changes of the connection with port own are
// filtered in the kernel. It needs CAP_NET_ADMIN.
func NewMonitor(own uint32, report func(Event)) (*Monitor, error) {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("nft: open a netlink socket: %w", err)
	}
	filter, err := passOver(own)
	if err == nil {
		err = errors.Join(socket.SetBPF(filter), socket.SetReadBuffer(receiveBuffer), socket.JoinGroup(unix.NFNLGRP_NFTABLES))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nft: listen for events: %w", err), socket.Close())
	}
	m := &Monitor{socket: socket, report: report, closed: make(chan struct{}), done: make(chan struct{})}
	go m.run()
	return m, nil
}

// passOver drops what a port has caused: nlmsg_pid of the first message, all of a datagram being of one transaction.
func passOver(port uint32) ([]bpf.RawInstruction, error) {
	const nlmsgPID = 12
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: nlmsgPID, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, port)), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 20},
		bpf.RetConstant{Val: 0},
	})
}

// Close ends the monitor and joins its goroutine.
func (m *Monitor) Close() error {
	var err error
	m.once.Do(func() {
		close(m.closed)
		err = m.socket.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine
		<-m.done
		err = errors.Join(err, m.socket.Close())
	})
	return err
}

func (m *Monitor) run() {
	defer close(m.done)
	for {
		messages, err := m.socket.Receive()
		select {
		case <-m.closed:
			return
		default:
		}
		if err != nil {
			// ENOBUFS, but whatever it was: what came meanwhile is not known.
			m.report(Event{Lost: true})
			if !errors.Is(err, unix.ENOBUFS) {
				time.Sleep(afterError)
			}
			continue
		}
		for _, message := range messages {
			if e, ok := parseEvent(message); ok {
				m.report(e)
			}
		}
	}
}

// afterError is the pause after a failure of the socket, so that one which lasts takes no CPU.
const afterError = 100 * time.Millisecond

func parseEvent(m netlink.Message) (e Event, ok bool) {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN {
		return Event{}, false
	}
	e = Event{Table: Table{Family: Family(m.Data[0])}, Port: m.Header.PID}
	if e.Port == 0 && m.Header.Type&0xff == unix.NFT_MSG_NEWOBJ {
		var o Object
		e.Table.Name, e.Quota, o = ParseObject(m.Data[4:])
		return e, o.Quota
	}
	const tableName = 1 // the first attribute of every kind of message
	walk(m.Data[4:], func(kind uint16, data []byte) {
		if kind == tableName {
			e.Table.Name = text(data)
		}
	})
	return e, e.Table.Name != ""
}
