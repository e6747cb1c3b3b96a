package flows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of include/uapi/linux/netfilter/nfnetlink_conntrack.h that package unix lacks.
const (
	messageGet    = 1
	messageDelete = 2

	tupleOriginal = 1
	tupleReply    = 2
	identity      = 12

	tupleIP      = 1
	sourceIPv4   = 1
	targetIPv4   = 2
	sourceIPv6   = 3
	targetIPv6   = 4
	maxDumpTries = 10
)

// Supported returns nil when the kernel lists its flows. It loads the module nf_conntrack_netlink where that is possible.
func Supported() error {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("flows: open a netlink socket: %w", err)
	}
	defer func() { _ = socket.Close() }()
	// That of one CPU's statistics is the shortest list there is.
	const statistics = 4 // IPCTNL_MSG_CT_GET_STATS_CPU
	if _, err = socket.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | statistics, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	}); err != nil {
		return fmt.Errorf("flows: ask for flows: %w", err)
	}
	return nil
}

// Forget removes every flow that one of the addresses began or is reached by, and returns how many. All flows of the host are
// looked through once.
func Forget(addrs []netip.Addr) (int, error) {
	if len(addrs) == 0 {
		return 0, nil
	}
	wanted := make(map[netip.Addr]bool, len(addrs))
	families := make(map[byte]bool, 2)
	for _, a := range addrs {
		wanted[a] = true
		families[familyOf(a)] = true
	}
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("flows: open a netlink socket: %w", err)
	}
	defer func() { _ = socket.Close() }()
	removed := 0
	for family := range families {
		n, err := forget(socket, family, wanted)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("flows: %w", err)
		}
	}
	return removed, nil
}

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func forget(socket *netlink.Conn, family byte, wanted map[netip.Addr]bool) (removed int, err error) {
	var flows []netlink.Message
	for range maxDumpTries {
		flows, err = socket.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | messageGet, Flags: netlink.Request | netlink.Dump},
			Data:   []byte{family, unix.NFNETLINK_V0, 0, 0},
		})
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, fmt.Errorf("list flows: %w", err)
	}
	for _, m := range flows {
		if len(m.Data) < 4 {
			continue
		}
		original, id, ours := parse(m.Data[4:], wanted)
		if !ours {
			continue
		}
		data := []byte{family, unix.NFNETLINK_V0, 0, 0}
		data = append(append(data, original...), id...)
		_, err := socket.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | messageDelete, Flags: netlink.Request | netlink.Acknowledge},
			Data:   data,
		})
		switch {
		case err == nil:
			removed++
		case !errors.Is(err, unix.ENOENT): // it ended by itself
			return removed, fmt.Errorf("remove a flow: %w", err)
		}
	}
	return removed, nil
}

// parse returns the attributes by which a flow is removed, and whether an address of it is wanted.
func parse(b []byte, wanted map[netip.Addr]bool) (original, id []byte, ours bool) {
	each(b, func(kind uint16, whole, data []byte) {
		switch kind {
		case tupleOriginal:
			original = whole
			ours = ours || holds(data, wanted)
		case tupleReply:
			ours = ours || holds(data, wanted)
		case identity:
			id = whole
		}
	})
	return original, id, ours && original != nil
}

func holds(tuple []byte, wanted map[netip.Addr]bool) (found bool) {
	each(tuple, func(kind uint16, _, data []byte) {
		if kind != tupleIP {
			return
		}
		each(data, func(kind uint16, _, data []byte) {
			switch kind {
			case sourceIPv4, targetIPv4, sourceIPv6, targetIPv6:
				addr, ok := netip.AddrFromSlice(data)
				found = found || ok && wanted[addr]
			}
		})
	})
	return found
}

// each walks over attributes, given whole with padding, and as their data.
func each(b []byte, yield func(kind uint16, whole, data []byte)) {
	for len(b) >= unix.NLA_HDRLEN {
		n := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if n < unix.NLA_HDRLEN || n > len(b) {
			return
		}
		end := min((n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b))
		yield(kind, b[:end:end], b[unix.NLA_HDRLEN:n])
		b = b[end:]
	}
}
