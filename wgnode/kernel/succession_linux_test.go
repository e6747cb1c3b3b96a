//go:build linux

package kernel_test

import (
	"testing"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

// successionRig has dataplanes of several kinds serve a node, one after the other; the last one goes on.
type successionRig struct {
	*rig
	kinds []func(r *rig) (wgnode.Dataplane, error)
}

func (s *successionRig) Dataplane() (wgnode.Dataplane, error) {
	kind := s.kinds[0]
	if len(s.kinds) > 1 {
		s.kinds = s.kinds[1:]
	}
	return kind(s.rig)
}

func inKernel(r *rig) (wgnode.Dataplane, error) { return kernel.New(r.cfg) }

func inKernelToKeep(r *rig) (wgnode.Dataplane, error) {
	cfg := r.cfg
	cfg.KeepOnClose = true
	return kernel.New(cfg)
}

func inUserspace(*rig) (wgnode.Dataplane, error) { return userspace.New(userspace.Config{}) }

// TestSuccession has one state go from one dataplane to another: usage goes on, to the byte, also when the one before was closed
// while packets passed, and caps hold over all of them.
func TestSuccession(t *testing.T) { eachDriver(t, testSuccession) }

func testSuccession(t *testing.T, driver kernel.Driver) {
	type kinds = []func(*rig) (wgnode.Dataplane, error)
	for _, s := range []struct {
		name, test string
		kinds      kinds
	}{
		{"kept", "Closing", kinds{inKernelToKeep, inKernel}},
		{"kernel to userspace", "Closing", kinds{inKernel, inUserspace}},
		{"userspace to kernel", "Closing", kinds{inUserspace, inKernel}},
		{"kernel to userspace and back, capped", "Restart", kinds{inKernel, inUserspace, inKernel}},
		{"userspace to kernel and back, capped", "Restart", kinds{inUserspace, inKernel, inUserspace}},
		{"kept, to userspace and back, capped", "Restart", kinds{inKernelToKeep, inUserspace, inKernel}},
	} {
		t.Run(s.name, func(t *testing.T) {
			h := harness(driver)
			h.Rig = func(t *testing.T) conformance.Rig { return &successionRig{newRig(t, driver), s.kinds} }
			conformance.TestNamed(t, h, s.test)
		})
	}
}
