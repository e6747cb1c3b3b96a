package kernel

import (
	"context"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// traced makes a change in the kernel as an operation of the node's.
func traced(ctx context.Context, name string, items int, do func(context.Context) error) error {
	ctx, end := wgnode.Trace(ctx, wgnode.Operation{Name: name, Items: items})
	err := do(ctx)
	end(err)
	return err
}

// commit sends a transaction to nftables.
func (dp *Dataplane) commit(ctx context.Context, b *nft.Batch) error {
	if b.Len() == 0 {
		return dp.nft.Commit(b)
	}
	return traced(ctx, "nftables transaction", b.Len(), func(context.Context) error { return dp.nft.Commit(b) })
}

// configure has the device remove and set peers.
func (dp *Dataplane) configure(ctx context.Context, remove []wgtypes.Key, set []wgdev.Peer) error {
	return traced(ctx, "wireguard configuration", len(remove)+len(set), func(ctx context.Context) error {
		return dp.device.Set(ctx, remove, set)
	})
}

// setKeys has the device change its keys.
func (dp *Dataplane) setKeys(ctx context.Context, key, former wgtypes.Key) error {
	return traced(ctx, "wireguard configuration", 0, func(ctx context.Context) error {
		return dp.device.SetKeys(ctx, key, former, dp.devicePeers())
	})
}

// syncClasses mends the classes.
func (dp *Dataplane) syncClasses(ctx context.Context) (words []string, err error) {
	err = traced(ctx, "htb sync", 0, func(ctx context.Context) error {
		words, err = dp.tree.Sync(ctx)
		return err
	})
	return words, err
}
