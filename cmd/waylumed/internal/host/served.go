package host

import (
	"context"
	"io"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/status"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
)

// Served is what other processes may ask of a node by way of package control.
type Served struct {
	*boltstore.Store
	Node *wgnode.Node
}

// Report writes how the node is, as JSON.
func (s Served) Report(ctx context.Context, to io.Writer) error {
	report, err := status.Of(ctx, s.Node)
	if err != nil {
		return err
	}
	return report.WriteJSON(to)
}

// RotateKey gives the node a new key.
func (s Served) RotateKey(ctx context.Context, overlap time.Duration) (control.Keys, error) {
	rotated, err := s.Node.RotateKey(ctx, wgnode.KeyRotation{Overlap: overlap})
	if err != nil {
		return control.Keys{}, err
	}
	return control.Keys{Public: rotated.PublicKey.String(), Former: rotated.FormerKey.String(), OverlapEnds: rotated.OverlapEnds}, nil
}

// EndKeyOverlap ends the overlap of the node's keys.
func (s Served) EndKeyOverlap(ctx context.Context) (control.Keys, error) {
	was, _ := s.Node.Status(ctx) // the keys are known also if the dataplane cannot be asked
	if err := s.Node.EndKeyOverlap(ctx); err != nil {
		return control.Keys{}, err
	}
	keys := control.Keys{Public: was.PublicKey.String()}
	if was.FormerKey != (wgtypes.Key{}) {
		keys.Former = was.FormerKey.String()
	}
	return keys, nil
}
