package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// maxRequests is how many requests are sent at once: the answers, some 5 KB each as the kernel counts, must fit into the socket.
	maxRequests = 256
	// maxLanes is how many sockets a reader has at most. It takes all processors of a small machine, and not those of a large one.
	maxLanes = 4
	// maxAnswer is more than an answer about one object has, in bytes.
	maxAnswer = 8 << 10
)

// Reader reads counters and quotas by their names, tens of thousands of them in half a dump's time and less: through a table
// with so many the kernel goes from the beginning for each part of a dump (nf_tables_dump_obj), while it finds a name at once,
// and on several processors. Its methods may be called from several goroutines; one request is under way at a time.
type Reader struct {
	mu     sync.Mutex
	lanes  []*lane
	closed bool
}

// DialReader opens a reader in the calling thread's network namespace. It needs CAP_NET_ADMIN.
func DialReader() (*Reader, error) {
	r := &Reader{}
	for range min(runtime.GOMAXPROCS(0), maxLanes) {
		l, err := dialLane()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("nft: open a socket to read objects: %w", err), r.Close())
		}
		r.lanes = append(r.lanes, l)
	}
	return r, nil
}

// Close closes the reader; it can be called more than once.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	var errs []error
	for _, l := range r.lanes {
		errs = append(errs, unix.Close(l.fd))
	}
	r.lanes = nil
	return errors.Join(errs...)
}

// Named reads the counters of a table, or the quotas, that have these names. It calls yield for each that is there, with the
// place of its name; for different names perhaps at once.
func (r *Reader) Named(t Table, quota bool, names []string, yield func(i int, o Object)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("nft: read objects: %w", os.ErrClosed)
	}
	var taken atomic.Int64 // how many names have a lane
	read := func(l *lane) error {
		for {
			end := int(taken.Add(maxRequests))
			first := end - maxRequests
			if first >= len(names) {
				return nil
			}
			some := names[first:min(end, len(names))]
			if err := l.read(t, quota, some, func(i int, o Object) { yield(first+i, o) }); err != nil {
				return fmt.Errorf("nft: read %d objects: %w", len(some), err)
			}
		}
	}
	lanes := r.lanes[:min(len(r.lanes), (len(names)+maxRequests-1)/maxRequests)]
	errs := make([]error, len(lanes))
	var group sync.WaitGroup
	for i, l := range lanes {
		if i > 0 { // the first is this goroutine's
			group.Go(func() { errs[i] = read(l) })
		}
	}
	if len(lanes) > 0 {
		errs[0] = read(lanes[0])
	}
	group.Wait()
	return errors.Join(errs...)
}

// lane is one socket of a reader. Package netlink makes several allocations and calls of each answer, which would be most of the time.
type lane struct {
	fd       int
	sequence uint32
	requests []byte
	answer   []byte
}

func dialLane() (*lane, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = errors.Join(
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)),
	)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &lane{fd: fd, answer: make([]byte, maxAnswer)}, nil
}

// read asks for at most maxRequests objects, and waits for all answers.
func (l *lane) read(t Table, quota bool, names []string, yield func(i int, o Object)) error {
	first := l.sequence + 1
	l.requests = l.requests[:0]
	for _, name := range names {
		l.request(t, quota, name)
	}
	if _, err := retried(func() (int, error) { return unix.Write(l.fd, l.requests) }); err != nil {
		return os.NewSyscallError("write", err)
	}
	for answered := 0; answered < len(names); {
		n, err := retried(func() (int, error) { return unix.Read(l.fd, l.answer) })
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		i, o, ok, err := parseAnswer(l.answer[:n], first)
		switch {
		case err == nil && i >= len(names):
			continue
		case err != nil:
			return err
		case ok:
			yield(i, o)
		}
		answered = i + 1
	}
	return nil
}

func retried(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// request appends the request for one object.
func (l *lane) request(t Table, quota bool, name string) {
	kind := uint32(unix.NFT_OBJECT_COUNTER)
	if quota {
		kind = unix.NFT_OBJECT_QUOTA
	}
	l.sequence++
	at := len(l.requests)
	b := binary.NativeEndian.AppendUint32(l.requests, 0) // the length, which is known below
	b = binary.NativeEndian.AppendUint16(b, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETOBJ)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, l.sequence)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = header(b, t.Family, 0)
	b = attrString(attrString(b, unix.NFTA_OBJ_TABLE, t.Name), unix.NFTA_OBJ_NAME, name)
	b = attr32(b, unix.NFTA_OBJ_TYPE, kind)
	binary.NativeEndian.PutUint32(b[at:], uint32(len(b)-at))
	l.requests = b
}

// parseAnswer reads an answer: how far it is behind the first request, or maxRequests for what answers none of these, and the
// object, if it is there.
func parseAnswer(b []byte, first uint32) (i int, o Object, ok bool, err error) {
	const errnoLen = 4
	if len(b) < unix.SizeofNlMsghdr+errnoLen || int(binary.NativeEndian.Uint32(b)) > len(b) {
		return 0, Object{}, false, fmt.Errorf("an answer of %d bytes is not whole", len(b))
	}
	// Numbers go round after 32 bits: how far one is behind the first says whether it is one of these, or of a former request.
	i = int(min(binary.NativeEndian.Uint32(b[8:])-first, maxRequests))
	switch kind := binary.NativeEndian.Uint16(b[4:]); {
	case kind>>8 == unix.NFNL_SUBSYS_NFTABLES:
		return i, parseObject(b[unix.SizeofNlMsghdr+nfgenmsgLen:]), true, nil
	case kind != unix.NLMSG_ERROR || i == maxRequests:
		return maxRequests, Object{}, false, nil
	}
	if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))); errno != 0 && errno != unix.ENOENT {
		return i, Object{}, false, errno
	}
	return i, Object{}, false, nil
}

// nfgenmsgLen is the length of struct nfgenmsg.
const nfgenmsgLen = 4
