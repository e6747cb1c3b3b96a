package up

import (
	"context"
	"fmt"
	"strings"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
)

// The values of Settings.Dataplane.
const (
	autoDataplane      = "auto"
	kernelDataplane    = "kernel"
	userspaceDataplane = "userspace"
)

// Dataplanes are the values of Settings.Dataplane.
func Dataplanes() []string { return []string{autoDataplane, kernelDataplane, userspaceDataplane} }

// choice is the dataplane that a node gets.
type choice struct {
	dataplane wgnode.Dataplane
	// kernel says that it is the kernel's; asked, that a person wanted this one.
	kernel, asked bool
	// about is the dataplane in words.
	about string
	// why is what keeps the node from the kernel's, if nobody asked for the other.
	why error
}

// choose makes the dataplane that settings ask for, and asks the system only where they leave it open or want the kernel's.
func (o Options) choose(ctx context.Context, cfg kernel.Config) (choice, error) {
	c := choice{asked: o.Settings.Dataplane != autoDataplane, kernel: o.Settings.Dataplane != userspaceDataplane}
	if c.kernel {
		supported := o.supported
		if supported == nil {
			supported = kernel.Supported
		}
		err := supported(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return choice{}, ctx.Err()
		case c.asked:
			return choice{}, fmt.Errorf("%w\nThe kernel dataplane cannot be had here: mend that, or say --dataplane %s", err, userspaceDataplane)
		case len(o.Settings.aboutKernel()) > 0:
			return choice{}, fmt.Errorf("%w\nThe kernel dataplane cannot be had here, and --%s would do nothing without it: mend that, or leave it out",
				err, strings.Join(o.Settings.aboutKernel(), " and --"))
		default:
			c.kernel, c.why = false, err
		}
	}
	var err error
	if c.kernel {
		c.dataplane, err = kernel.New(cfg)
		c.about = fmt.Sprintf("kernel, with interface %s and rules in nftables, which go when it stops", cfg.Interface)
	} else {
		c.dataplane, err = userspace.New(userspace.Config{Dial: o.dial})
		c.about = "userspace, without privilege"
	}
	if err != nil {
		return choice{}, err
	}
	o.log(ctx, c)
	return c, nil
}

func (o Options) log(ctx context.Context, c choice) {
	if o.Logger == nil {
		return
	}
	name := userspaceDataplane
	if c.kernel {
		name = kernelDataplane
	}
	attrs := []any{"dataplane", name, "asked_for", c.asked}
	if c.why != nil {
		attrs = append(attrs, "why_not_kernel", c.why)
	}
	o.Logger.InfoContext(ctx, "chose the dataplane", attrs...)
}
