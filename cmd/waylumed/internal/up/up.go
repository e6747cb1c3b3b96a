package up

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
)

// Options are what Run has of the world around it.
type Options struct {
	Settings Settings
	// Out is where a person reads.
	Out console.Console
	// Logger receives what the node logs; nil: nothing is logged.
	Logger *slog.Logger

	dial      userspace.DialFunc          // for tests: where peers' flows go through the userspace dataplane; nil: out
	supported func(context.Context) error // for tests: whether the kernel's can be had; nil: kernel.Supported
}

// Run runs a node until the context ends, which is no error, or the node fails. A *SettingsError says that nothing was done.
func Run(ctx context.Context, opts Options) (err error) {
	p, err := opts.Settings.plan()
	if err != nil {
		return err
	}
	how := host.AsTold
	if p.node.Endpoint == "" {
		p.node.Endpoint, how = host.Reach(host.Primary())
	}
	chosen, err := opts.want(p.kernel).Choose(ctx)
	if err != nil {
		return err
	}
	store, err := names().OpenState(opts.Settings.State)
	if err != nil {
		return err
	}
	p.node.Store, p.node.Logger = store, opts.Logger
	p.node.Dataplane = chosen.Dataplane
	usage, err := opts.openUsage(p.usage)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	if usage != nil {
		p.node.UsageLog = usage
	}
	node, err := wgnode.New(p.node)
	if err != nil {
		return errors.Join(err, closeUsage(usage), store.Close())
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	server, unserved := control.Listen(state.Socket(opts.Settings.State), host.Served{Store: store, Node: node})
	if unserved != nil { // the node is worth more than its backups
		fmt.Fprintf(opts.Out, "No backup can be made, nor the key changed, while this node runs: %v\nNor can waylumed status ask it.\n\n", unserved)
	} else {
		defer func() { err = errors.Join(err, server.Close()) }()
	}

	r := &runner{Options: opts, node: node, plan: p, chosen: chosen, how: how, events: node.Subscribe()}
	if err := node.Start(ctx); err != nil {
		return chosen.StartError(names(), err, p.node.ListenPort)
	}
	if err := r.welcome(ctx); err != nil {
		return err
	}
	return r.watch(ctx)
}

// names are the flags.
func names() host.Names {
	return host.Names{
		State: "--state", PrivateKeyFile: "--private-key-file", AcceptNewKey: "--accept-new-key", ListenPort: "--listen-port",
		Endpoint: "--endpoint", Dataplane: "--dataplane", UsageLog: "--usage-log",
	}
}

// want is what the settings want of the host.
func (o Options) want(cfg kernel.Config) host.Want {
	w := host.Want{
		Names: names(), Dataplane: o.Settings.Dataplane, Kernel: cfg, Logger: o.Logger, Dial: o.dial, Supported: o.supported,
	}
	for _, flag := range o.Settings.aboutKernel() {
		w.KernelOnly = append(w.KernelOnly, "--"+flag)
	}
	return w
}

// runner is a node that runs, and the person's view of it.
type runner struct {
	Options
	node   *wgnode.Node
	plan   plan
	chosen host.Choice
	how    host.Reachability
	events *wgnode.Subscription
}

// welcome makes a peer if there is to be one, and shows what there is.
func (r *runner) welcome(ctx context.Context) error {
	known := slices.Collect(r.node.Peers(wgnode.ListOptions{}))
	status, err := r.node.Status(ctx)
	if err != nil {
		return err
	}
	if len(known) > 0 && !r.Settings.NewPeer {
		if err := r.needlessFlags(); err != nil {
			return err
		}
		if err := r.showPeers(ctx, known); err != nil {
			return err
		}
		return r.showNode(status)
	}
	r.nameApart(known)
	peer, err := r.addPeer(ctx)
	if err != nil {
		return err
	}
	if err := r.showNewPeer(peer); err != nil {
		return err
	}
	if len(known) > 0 {
		if err := r.showPeers(ctx, known); err != nil {
			return err
		}
	}
	return r.showNode(status)
}

// needlessFlags refuses flags that would do nothing, which a person would not notice.
func (r *runner) needlessFlags() error {
	var problems []string
	for _, flag := range peerFlags() {
		if slices.Contains(r.Settings.Given, flag) {
			problems = append(problems, "--"+flag+": is about a new peer, and this node has its peers already: add --new-peer")
		}
	}
	if len(problems) > 0 {
		return &SettingsError{problems}
	}
	return nil
}

// nameApart gives a peer whose name nobody chose one that no other peer has.
func (r *runner) nameApart(known []wgnode.Peer) {
	if slices.Contains(r.Settings.Given, "peer-name") || len(known) == 0 {
		return
	}
	for n := len(known) + 1; ; n++ {
		name := fmt.Sprintf("peer-%d", n)
		if !slices.ContainsFunc(known, func(p wgnode.Peer) bool { return p.Name == name }) {
			r.plan.peer.Name = name
			return
		}
	}
}

// addPeer adds the peer, and its account before it. An account that is there keeps what the command line leaves out.
func (r *runner) addPeer(ctx context.Context) (wgnode.AddedPeer, error) {
	if spec := r.plan.account; spec != nil {
		switch account, err := r.node.Account(spec.ID); {
		case err == nil:
			spec.Labels = account.Labels
			if !r.plan.limited {
				spec.SpeedLimit = account.SpeedLimit
			}
			if !r.plan.capped {
				spec.DataCap = account.DataCap
			}
		case !errors.Is(err, wgnode.ErrNotFound):
			return wgnode.AddedPeer{}, err
		}
		if _, err := r.node.PutAccount(ctx, *spec); err != nil {
			return wgnode.AddedPeer{}, err
		}
	}
	return r.node.AddPeer(ctx, r.plan.peer)
}

// name is what a peer is called: its key's beginning when nobody named it.
func name(p wgnode.Peer) string { return cmp.Or(p.Name, p.PublicKey.String()[:8]) }

// capText is a cap in words.
func capText(c quota.Cap) string {
	if c.Bytes == 0 {
		return "no data cap"
	}
	text := c.Bytes.String()
	if c.Period.Kind != quota.None {
		text += " " + c.Period.Kind.String()
	}
	if c.AtEnd == quota.Throttle {
		return text + ", then slower"
	}
	return text + ", then cut off"
}

func limitText(l shaping.Limit) string {
	if l.IsUnlimited() {
		return "no speed limit"
	}
	return l.String()
}
