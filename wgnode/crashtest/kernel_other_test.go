//go:build !linux

package crashtest

import (
	"fmt"

	"github.com/waylume/waylume/wgnode"
)

func newKernel(o order) (wgnode.Dataplane, error) {
	return nil, fmt.Errorf("%s: Linux has it", o.Dataplane)
}
