package wgnode

import "context"

// Checkpoint is what the node does every Config.CheckpointPeriod.
func (n *Node) Checkpoint(ctx context.Context) error {
	release, err := n.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return n.checkpoint(ctx)
}
