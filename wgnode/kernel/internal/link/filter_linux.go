package link

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Where things are in a datagram of one message or more: struct nlmsghdr, then for a qdisc struct tcmsg.
const (
	offsetType   = 4
	offsetParent = unix.SizeofNlMsghdr + 12
)

// monitorFilter drops in the kernel what a [Monitor] would not tell of: above all the message for each class that is added
// or changed, and for each qdisc below a class, of which there are tens of thousands and which we send ourselves. It goes by
// the first message of a datagram. The kernel puts several in one when a qdisc takes another's place, and then the first says
// that the old one has gone (net/sched/sch_api.c, qdisc_notify).
func monitorFilter() ([]bpf.RawInstruction, error) {
	pass := []uint16{
		unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWROUTE, unix.RTM_DELROUTE,
		unix.RTM_DELQDISC, unix.RTM_DELTCLASS,
	}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetType, Size: 2}}
	for i, kind := range pass {
		// Those that follow this one, then the five below up to the last.
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded16(kind), SkipTrue: uint8(len(pass) - i - 1 + 5)})
	}
	program = append(program,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loaded16(unix.RTM_NEWQDISC), SkipTrue: 3},
		bpf.LoadAbsolute{Off: offsetParent, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded32(tcRoot), SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded32(tcIngress), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1<<32 - 1},
	)
	return bpf.Assemble(program)
}

// Parents of qdiscs that are not below a class (TC_H_ROOT and TC_H_INGRESS, which is TC_H_CLSACT, in pkt_sched.h).
const (
	tcRoot    = 0xffffffff
	tcIngress = 0xfffffff1
)

// Netlink speaks the byte order of the host, a filter loads that of the network.

func loaded16(v uint16) uint32 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return uint32(binary.BigEndian.Uint16(b[:]))
}

func loaded32(v uint32) uint32 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	return binary.BigEndian.Uint32(b[:])
}
