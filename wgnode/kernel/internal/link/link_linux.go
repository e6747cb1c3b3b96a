package link

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kinds of interfaces that the dataplane makes (IFLA_INFO_KIND).
const (
	KindIFB       = "ifb"
	KindWireGuard = "wireguard"
	KindTUN       = "tun"
)

// Alias is the IFLA_IFALIAS by which an interface is known as ours.
const Alias = "waylume"

// halfMade is the interface group (IFLA_GROUP) that an interface of ours has from its creation until it has its alias. The
// kernel takes a group with the message that creates an interface, but ignores an alias there (net/core/rtnetlink.c,
// rtnl_create_link), and a process may be killed between two messages. Its bytes spell "wlum".
const halfMade = 0x776c756d

// ErrTaken says that the name belongs to an interface that is not ours, or that another process holds. The error says what to do.
var ErrTaken = errors.New("the interface name is taken")

// Link is one network interface as the kernel describes it.
type Link struct {
	Index int
	Name  string
	// Kind is the driver's name, "wireguard" for one; empty for hardware and the loopback interface.
	Kind string
	// Alias is free text, by which [Link.Ours] knows its own.
	Alias string
	// MTU is in bytes.
	MTU int
	// Up reports the administrative state (IFF_UP).
	Up bool
	// TxQueueLen is in packets.
	TxQueueLen int

	group       uint32
	addrGenMode uint8 // of IPv6
	hasIPv6     bool
}

// Ours reports that the interface was made by this package, or marked as ours by it.
func (l Link) Ours() bool { return l.Alias == Alias || l.Alias == "" && l.group == halfMade }

// LinkByName finds an interface; ok is false when there is none of that name.
func (c *Conn) LinkByName(name string) (l Link, ok bool, err error) {
	if err := checkName(name); err != nil {
		return Link{}, false, err
	}
	return c.readLink(linkMessage{name: name}, name)
}

// LinkByIndex finds an interface; ok is false when there is none of that index.
func (c *Conn) LinkByIndex(index int) (l Link, ok bool, err error) {
	return c.readLink(linkMessage{index: index}, fmt.Sprintf("interface %d", index))
}

func (c *Conn) readLink(m linkMessage, what string) (Link, bool, error) {
	answer, err := c.read(unix.RTM_GETLINK, netlink.Request, m.encode())
	switch {
	case errors.Is(err, unix.ENODEV):
		return Link{}, false, nil
	case err != nil:
		return Link{}, false, fmt.Errorf("link: read %s: %w", what, err)
	case len(answer) != 1:
		return Link{}, false, fmt.Errorf("link: read %s: %d answers, want 1", what, len(answer))
	}
	l, err := decodeLink(answer[0].Data)
	if err != nil {
		return Link{}, false, fmt.Errorf("link: read %s: %w", what, err)
	}
	return l, true, nil
}

// EnsureLink makes an interface, down and with our alias, or adopts ours of that name and kind as it stands. A name that is
// someone else's, or ours with another kind, gives an error that matches [ErrTaken]. A kind that the kernel does not know
// gives one that matches unix.EOPNOTSUPP.
func (c *Conn) EnsureLink(name, kind string) (l Link, created bool, err error) {
	l, ok, err := c.LinkByName(name)
	if err != nil {
		return Link{}, false, err
	}
	if !ok {
		create := linkMessage{name: name, kind: kind, group: new(uint32(halfMade))}
		err = c.write(unix.RTM_NEWLINK, netlink.Create|netlink.Excl, create.encode())
		// EEXIST: someone was quicker, or the name is an alternative name of another interface. See who it is.
		if created = err == nil; !created && !errors.Is(err, unix.EEXIST) {
			return Link{}, false, fmt.Errorf("link: make interface %s of kind %s: %w", name, kind, explain(err))
		}
		if l, ok, err = c.LinkByName(name); err != nil {
			return Link{}, created, err
		}
		if !ok {
			return Link{}, created, fmt.Errorf("link: make interface %s: %w: it does not stay: something on this host removes it", name, unix.ENODEV)
		}
	}
	if err := l.Check(name, kind); err != nil {
		return Link{}, false, err
	}
	l, err = c.Mark(l)
	return l, created, err
}

// Check returns an error that matches [ErrTaken] unless the interface is ours and of that kind.
func (l Link) Check(name, kind string) error {
	switch {
	case l.Name != name:
		return fmt.Errorf("link: interface %s: %w: it is another name of interface %s, which is not Waylume's; choose another "+
			"interface name in the configuration", name, ErrTaken, l.Name)
	case !l.Ours():
		return fmt.Errorf("link: interface %s: %w: it is there already and is not Waylume's (no alias %q); choose another "+
			"interface name in the configuration, or delete that interface if nothing needs it: ip link delete %s", name, ErrTaken, Alias, name)
	case l.Kind != kind:
		return fmt.Errorf("link: interface %s: %w: it is Waylume's, but of kind %q where %q is wanted: another driver made it; "+
			"end the process that has it or delete the interface: ip link delete %s", name, ErrTaken, l.Kind, kind, name)
	}
	return nil
}

// Mark gives the interface our alias unless it has it. Whose it is, the caller has checked.
func (c *Conn) Mark(l Link) (Link, error) {
	if l.Alias == Alias && l.group != halfMade {
		return l, nil
	}
	mark := linkMessage{index: l.Index, alias: Alias, group: new(uint32(0))}
	if err := c.write(unix.RTM_NEWLINK, 0, mark.encode()); err != nil {
		return l, fmt.Errorf("link: mark interface %s as Waylume's: %w", l.Name, explain(err))
	}
	l.Alias, l.group = Alias, 0
	return l, nil
}

// Delete removes an interface and all that hangs on it: addresses, routes, qdiscs, netdev hooks. One that is gone is no
// error; one that is not ours is left alone, with an error.
func (c *Conn) Delete(index int) error {
	l, ok, err := c.LinkByIndex(index)
	if err != nil || !ok {
		return err
	}
	if !l.Ours() {
		return fmt.Errorf("link: delete interface %s: %w: it is not Waylume's", l.Name, ErrTaken)
	}
	err = c.write(unix.RTM_DELLINK, 0, linkMessage{index: index}.encode())
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("link: delete interface %s: %w", l.Name, explain(err))
	}
	return nil
}

// checkName holds a name to what the kernel takes (dev_valid_name, net/core/dev.c), for errors that say so.
func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("link: interface name %q: want 1 to %d bytes", name, unix.IFNAMSIZ-1)
	}
	return nil
}

// linkMessage is a request about one interface; what is zero is left out.
type linkMessage struct {
	index         int
	name          string
	kind          string
	alias         string
	group         *uint32
	mtu           int
	txQueueLen    int
	addrGenMode   *uint8
	flags, change uint32
}

func (m linkMessage) encode() []byte {
	b := make([]byte, 4, 64) // struct ifinfomsg: family and type are left zero
	b = binary.NativeEndian.AppendUint32(b, uint32(m.index))
	b = binary.NativeEndian.AppendUint32(b, m.flags)
	b = binary.NativeEndian.AppendUint32(b, m.change)
	ae := netlink.NewAttributeEncoder()
	if m.name != "" {
		ae.String(unix.IFLA_IFNAME, m.name)
	}
	if m.kind != "" {
		ae.Nested(unix.IFLA_LINKINFO, func(ae *netlink.AttributeEncoder) error {
			ae.String(unix.IFLA_INFO_KIND, m.kind)
			return nil
		})
	}
	if m.alias != "" {
		ae.String(unix.IFLA_IFALIAS, m.alias)
	}
	if m.group != nil {
		ae.Uint32(unix.IFLA_GROUP, *m.group)
	}
	if m.mtu != 0 {
		ae.Uint32(unix.IFLA_MTU, uint32(m.mtu))
	}
	if m.txQueueLen != 0 {
		ae.Uint32(unix.IFLA_TXQLEN, uint32(m.txQueueLen))
	}
	if m.addrGenMode != nil {
		ae.Nested(unix.IFLA_AF_SPEC, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(unix.AF_INET6, func(ae *netlink.AttributeEncoder) error {
				ae.Uint8(unix.IFLA_INET6_ADDR_GEN_MODE, *m.addrGenMode)
				return nil
			})
			return nil
		})
	}
	attributes, err := ae.Encode()
	if err != nil {
		panic("link: attributes of fixed form do not encode: " + err.Error())
	}
	return append(b, attributes...)
}

func decodeLink(b []byte) (Link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Link{}, errShort
	}
	l := Link{Index: int(int32(binary.NativeEndian.Uint32(b[4:]))), Up: binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return Link{}, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_IFALIAS:
			l.Alias = ad.String()
		case unix.IFLA_MTU:
			l.MTU = int(ad.Uint32())
		case unix.IFLA_TXQLEN:
			l.TxQueueLen = int(ad.Uint32())
		case unix.IFLA_GROUP:
			l.group = ad.Uint32()
		case unix.IFLA_LINKINFO:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					if ad.Type() == unix.IFLA_INFO_KIND {
						l.Kind = ad.String()
					}
				}
				return nil
			})
		case unix.IFLA_AF_SPEC:
			ad.Nested(l.decodeFamilies)
		}
	}
	return l, ad.Err()
}

func (l *Link) decodeFamilies(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() != unix.AF_INET6 {
			continue
		}
		ad.Nested(func(ad *netlink.AttributeDecoder) error {
			for ad.Next() {
				if ad.Type() == unix.IFLA_INET6_ADDR_GEN_MODE {
					l.hasIPv6, l.addrGenMode = true, ad.Uint8()
				}
			}
			return nil
		})
	}
	return nil
}
