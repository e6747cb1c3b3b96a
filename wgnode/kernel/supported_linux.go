package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// Supported returns nil when this process may run a dataplane with the default configuration here, as far as that can be told:
// it has the privilege, somebody speaks WireGuard, and of the required [Features] none is absent.
//
// An error says what to do. It matches os.ErrPermission when the process lacks the privilege, and wgnode.ErrNotSupported when
// the kernel lacks a part; any other says nothing for sure.
func Supported(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	links, err := link.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, links.Close()) }()
	if err := links.Privileged(); err != nil {
		return err
	}
	if err := anyDriver(wgdev.SupportedModule(links), wgdev.SupportedTUN(links)); err != nil {
		return err
	}
	if err := supportedTables(); err != nil {
		return err
	}
	return requiredFeatures(ctx)
}

// requiredFeatures is nil when no feature that each dataplane needs is absent.
func requiredFeatures(ctx context.Context) error {
	features, err := Features(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range features {
		if f.Need == NeedAlways && f.Answer() == Absent {
			errs = append(errs, f.Err)
		}
	}
	return errors.Join(errs...)
}

// anyDriver is nil when one of the two drivers can be had.
func anyDriver(module, tun error) error {
	if module == nil || tun == nil {
		return nil
	}
	return errors.Join(module, tun)
}

// supportedTables asks nftables for what is there.
func supportedTables() (err error) {
	tables, err := nft.Dial()
	if err != nil {
		return explainTables(err)
	}
	defer func() { err = errors.Join(err, tables.Close()) }()
	_, err = tables.Tables(nft.Inet)
	return explainTables(err)
}

// explainTables says what it means that nftables does not answer: EPROTONOSUPPORT is a kernel without CONFIG_NETFILTER_NETLINK,
// EINVAL one without CONFIG_NF_TABLES (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg).
func explainTables(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: nftables is required: a kernel with CONFIG_NF_TABLES; load it with: modprobe nf_tables (%w)",
			wgnode.ErrNotSupported, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("ask nftables for its tables: %w: run as root or with CAP_NET_ADMIN", err)
	}
	return fmt.Errorf("ask nftables for its tables: %w", err)
}

// limitations are what this host keeps a running dataplane from doing, in words for a person.
func (dp *Dataplane) limitations() (list []string, err error) {
	if dp.chosen == DriverTUN {
		list = append(list, "no WireGuard module is used: wireguard-go in this process encrypts, at a part of the module's speed, and sessions end with the process")
	}
	if dp.unserved {
		list = append(list, "the WireGuard module has one key for each interface: who has the node's former key cannot connect; to serve "+
			"both for a while, start with wireguard-go in its place (Config.Driver: DriverTUN) or the userspace dataplane")
	}
	if s := dp.tree.Stats(); s.Classes > 0 && !s.FqCodel {
		list = append(list, "the kernel has no fq_codel: flows of one peer share a plain queue")
	}
	if !dp.flowsKnown {
		list = append(list, "the kernel has no nf_conntrack_netlink (load it with: modprobe nf_conntrack_netlink): what still comes for a "+
			"removed peer reaches the next one with its address, until conntrack forgets the flow")
	}
	guests, err := dp.guestLimitations()
	return append(list, guests...), err
}
