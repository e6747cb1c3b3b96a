package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// Features tells, one by one, what this host has of what a dataplane uses, in the order in which a person would mend it.
// [Supported] decides by them; this is for a person to read, or a program to report.
//
// Where the process may make a network namespace (CAP_SYS_ADMIN), it makes one, tries everything there, and has it end:
// interfaces, queues, and for each feature of nftables a transaction of its own. Nothing is made in the namespace that the
// process is in. Where it may not, it asks and reads: the kernel's configuration (/proc/config.gz, /boot/config-RELEASE) and
// its modules (/lib/modules/RELEASE), and says [Unknown] where these do not settle it.
//
// The kernel loads modules for what is tried, as it does for a dataplane, and they stay loaded.
//
// The error is that of ctx, or that of a host which cannot even be asked.
func Features(ctx context.Context) (features []Feature, err error) {
	links, err := link.Dial()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, links.Close()) }()
	files, err := readKernelFiles("/")
	if err != nil {
		return nil, err
	}
	h := host{links: links, files: files}
	all := probes()
	for i := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		all[i].answer(h)
	}
	// Last, as these answers are the surest.
	untried := inNamespace(func() error { return tryAll(ctx, all) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	features = make([]Feature, len(all))
	for i, p := range all {
		if untried != nil && p.try != nil && p.Answer() == Unknown {
			p.Err = fmt.Errorf("%w; it could not be tried: %w", p.Err, untried)
		}
		if features[i] = p.Feature; p.Answer() == There {
			features[i].Requires = ""
		}
	}
	return features, nil
}

// host is what can be asked where the process is, without a change.
type host struct {
	links *link.Conn
	files kernelFiles
}

// space is a network namespace to try things in.
type space struct {
	links *link.Conn
}

// probe is a feature with the ways to find it.
type probe struct {
	Feature
	// options are those of the kernel's configuration that it takes.
	options []option
	// ask asks the host for it without changing anything. Nil if that cannot be done.
	ask func(host) error
	// try uses it. Nil if the host is all there is to ask.
	try func(space) error
}

var errUntold = errors.New("it can only be tried")

// answer finds out what can be without a namespace.
func (p *probe) answer(h host) {
	p.Requires = h.files.required(p.Requires, p.options)
	p.Err = errUntold
	if p.ask != nil {
		p.settle(SourceAsked, p.ask(h))
		if p.Answer() != Unknown || p.try == nil {
			return
		}
	}
	if asked := p.Err; len(p.options) > 0 {
		p.settle(SourceRead, h.files.has(p.options))
		if p.Answer() == Unknown && p.ask != nil {
			p.Err = fmt.Errorf("%w; %w", asked, p.Err)
		}
	}
}

// settle takes an answer.
func (p *probe) settle(source Source, err error) {
	p.Source, p.Err = source, err
	if err != nil && lacks(err) {
		p.Err = absence(p.Feature, err)
	}
}

// tryAll tries everything in the namespace of the calling thread. What could not be told by trying keeps the answer that it has.
func tryAll(ctx context.Context, all []probe) (err error) {
	s := space{}
	if s.links, err = link.Dial(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.links.Close()) }()
	for i := range all {
		p := &all[i]
		if p.try == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		before := *p
		if p.settle(SourceTried, p.try(s)); p.Answer() == Unknown && before.Answer() != Unknown {
			*p = before
		}
	}
	return nil
}

// lacks reports whether an error says that the kernel has not got what it was asked for: no such expression, object, chain,
// queue or kind of interface (ENOENT, EOPNOTSUPP), no such subsystem or family (EINVAL, EPROTONOSUPPORT, EAFNOSUPPORT), no
// such device or file.
func lacks(err error) bool {
	for _, errno := range []error{
		wgnode.ErrNotSupported, os.ErrNotExist, unix.ENOENT, unix.EOPNOTSUPP, unix.EINVAL, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT,
		unix.ENOPROTOOPT, unix.ENODEV, unix.ENXIO,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
