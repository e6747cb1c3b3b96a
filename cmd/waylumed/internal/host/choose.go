package host

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
)

// What a person can want to move the packets; Auto is the kernel's where this process may use it.
const (
	Auto      = "auto"
	Kernel    = "kernel"
	Userspace = "userspace"
)

// Dataplanes are all of these.
func Dataplanes() []string { return []string{Auto, Kernel, Userspace} }

// Want is what a person wants of the host.
type Want struct {
	Names Names
	// Dataplane is one of Dataplanes.
	Dataplane string
	Kernel    kernel.Config
	// KernelOnly are the settings given, by their names, that mean nothing without the kernel's dataplane.
	KernelOnly []string
	// Logger is told what was chosen; nil: nobody is.
	Logger *slog.Logger

	Dial      userspace.DialFunc          // for tests: where peers' flows go through the userspace dataplane; nil: out
	Supported func(context.Context) error // for tests: whether the kernel's can be had; nil: kernel.Supported
}

// Choice is the dataplane that a node gets.
type Choice struct {
	Dataplane wgnode.Dataplane
	// Kernel says that it is the kernel's; Asked, that a person wanted this one.
	Kernel, Asked bool
	// About is the dataplane in words.
	About string
	// Why is what keeps the node from the kernel's, if nobody asked for the other.
	Why error
}

// Choose makes the dataplane that is wanted, and asks the system only where that is left open or is the kernel's.
func (w Want) Choose(ctx context.Context) (Choice, error) {
	c := Choice{Asked: w.Dataplane != Auto, Kernel: w.Dataplane != Userspace}
	if c.Kernel {
		supported := w.Supported
		if supported == nil {
			supported = kernel.Supported
		}
		err := supported(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return Choice{}, ctx.Err()
		case c.Asked:
			return Choice{}, fmt.Errorf("%w\nThe kernel dataplane cannot be had here: mend that, or say %s %s", err, w.Names.Dataplane, Userspace)
		case len(w.KernelOnly) > 0:
			return Choice{}, fmt.Errorf("%w\nThe kernel dataplane cannot be had here, and %s would do nothing without it: mend that, or leave it out",
				err, strings.Join(w.KernelOnly, " and "))
		default:
			c.Kernel, c.Why = false, err
		}
	}
	var err error
	if c.Kernel {
		c.Dataplane, err = kernel.New(w.Kernel)
		c.About = fmt.Sprintf("kernel, with interface %s and rules in nftables, which go when it stops", w.Kernel.Interface)
	} else {
		c.Dataplane, err = userspace.New(userspace.Config{Dial: w.Dial})
		c.About = "userspace, without privilege"
	}
	if err != nil {
		return Choice{}, err
	}
	w.log(ctx, c)
	return c, nil
}

func (w Want) log(ctx context.Context, c Choice) {
	if w.Logger == nil {
		return
	}
	name := Userspace
	if c.Kernel {
		name = Kernel
	}
	attrs := []any{"dataplane", name, "asked_for", c.Asked}
	if c.Why != nil {
		attrs = append(attrs, "why_not_kernel", c.Why)
	}
	w.Logger.InfoContext(ctx, "chose the dataplane", attrs...)
}
