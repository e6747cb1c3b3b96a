package kernel

import (
	"context"
	"errors"

	"github.com/waylume/waylume/wgnode/kernel/internal/guest"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// Firewalls lists other programs' tables of nftables, those of iptables-nft among them, that judge packets which a node
// forwards or receives. It changes nothing. Without CAP_NET_ADMIN it fails with an error that matches os.ErrPermission, and
// where the kernel has no nftables with one that matches wgnode.ErrNotSupported.
func Firewalls(ctx context.Context) (list []Firewall, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := nft.Dial()
	if err != nil {
		return nil, explainTables(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	found, err := guest.Survey(conn)
	if err != nil {
		return nil, explainTables(err)
	}
	families := map[nft.Family]string{nft.Inet: "inet", nft.IPv4: "ip", nft.IPv6: "ip6"}
	for _, f := range found {
		list = append(list, Firewall{
			Family: families[f.Family], Table: f.Name, Programs: f.Programs, Forward: f.Forward, Input: f.Input, Locked: f.Locked,
		})
	}
	return list, nil
}

// IPTablesLegacy reports whether this host has tables of iptables-legacy. What they drop cannot be seen through nftables, and
// nothing opens them but their owner. They can be seen by root only.
func IPTablesLegacy() bool { return guest.Legacy() }
