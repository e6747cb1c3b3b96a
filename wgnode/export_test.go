package wgnode

import (
	"context"
	"time"
)

// Checkpoint is what the node does every Config.CheckpointPeriod.
func (n *Node) Checkpoint(ctx context.Context) error {
	release, err := n.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return n.checkpoint(ctx)
}

// Hasten has a node that is not started yet keep periods that are shorter than a configuration may have them.
func (n *Node) Hasten(checkpoint, usageLog time.Duration) {
	n.cfg.CheckpointPeriod, n.cfg.UsageLogPeriod = checkpoint, usageLog
}
