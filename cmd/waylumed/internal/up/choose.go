package up

import (
	"cmp"
	"context"
	"errors"
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
		case o.Settings.aboutKernel() != "":
			return choice{}, fmt.Errorf("%w\nThe kernel dataplane cannot be had here, and --%s is about it: mend that, or leave the flag out",
				err, o.Settings.aboutKernel())
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

// aboutKernel names a flag that was set and is about the kernel dataplane only, or nothing.
func (s Settings) aboutKernel() string {
	switch {
	case s.Uplink != "":
		return "uplink"
	case s.Interface != kernel.DefaultInterface:
		return "interface"
	}
	return ""
}

// kernel reads what is about the kernel dataplane.
func (s Settings) kernel(r *reader) kernel.Config {
	switch flag := s.aboutKernel(); s.Dataplane {
	case autoDataplane, kernelDataplane:
	case userspaceDataplane:
		if flag != "" {
			r.add(flag, "is about the kernel dataplane: leave it out, or say --dataplane %s", kernelDataplane)
		}
	default:
		r.add("dataplane", "%q is not a dataplane: give %s", s.Dataplane, strings.Join(Dataplanes(), ", "))
	}
	cfg := kernel.Config{Interface: cmp.Or(s.Interface, kernel.DefaultInterface), Uplink: s.Uplink}
	dataplane, err := kernel.New(cfg) // which touches nothing
	if err == nil {
		err = dataplane.Close()
	}
	for _, problem := range leaves(err) {
		text := problem.Error()
		if rest, ok := strings.CutPrefix(text, "Interface is "); ok {
			r.add("interface", "%s", rest)
		} else if rest, ok := strings.CutPrefix(text, "Uplink is "); ok {
			r.add("uplink", "%s", rest)
		} else if !errors.Is(problem, wgnode.ErrNotSupported) { // which choose says, if it matters
			r.problems = append(r.problems, text)
		}
	}
	return cfg
}

// leaves are the errors that were joined into one.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	var all []error
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if joined, ok := inner.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				all = append(all, leaves(e)...)
			}
			return all
		}
	}
	return []error{err}
}
