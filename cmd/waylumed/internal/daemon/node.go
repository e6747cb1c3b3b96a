package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

// names are the keys of the configuration.
func names() host.Names {
	return host.Names{
		State: "node.state", PrivateKeyFile: "node.private_key_file", AcceptNewKey: "--accept-new-key", ListenPort: "node.listen_port",
		Endpoint: "node.endpoint", Dataplane: "node.dataplane", UsageLog: "node.usage_log",
	}
}

// openNode makes the node and what it is made of, and has others ask it through the control socket. Nothing runs yet.
func (d *daemon) openNode(ctx context.Context) error {
	cfg := d.config().Node
	var err error
	want := host.Want{
		Names: names(), Dataplane: cfg.Dataplane, Kernel: d.config().Kernel(), KernelOnly: kernelOnly(cfg), Logger: d.log, Dial: d.dial,
	}
	if d.choice, err = want.Choose(ctx); err != nil {
		return err
	}
	node := d.nodeConfig()
	var source control.Source
	if cfg.Store == config.FileStore {
		store, err := names().OpenState(cfg.State)
		if err != nil {
			return err
		}
		node.Store = store
		d.atEnd(store.Close) // a node that was made has closed it, and a second time does nothing
		source = store
	} else {
		if err := names().MakeState(cfg.State); err != nil { // for all that is beside peers
			return err
		}
		node.Store = wgnode.NewMemoryStore()
	}
	d.store = metrics.MeasureStore(node.Store)
	node.Store = d.store
	if cfg.UsageLog > 0 && cfg.Store == config.FileStore {
		log, err := usagelog.Open(state.Usage(cfg.State), usagelog.Options{Retention: cfg.UsageRetention})
		if err != nil {
			return fmt.Errorf("%w\nTo run without a log of usage, say %s none", err, names().UsageLog)
		}
		for _, damage := range log.Damage() {
			d.log.Warn("the usage log is damaged, and goes on", "damage", damage)
		}
		node.UsageLog = log
		d.atEnd(log.Close)
	}
	if err := d.openFleet(&node); err != nil {
		return err
	}
	if d.node, err = wgnode.New(node); err != nil {
		return err
	}
	d.atEnd(d.node.Close)
	if source == nil {
		return nil
	}
	server, err := control.Listen(state.Socket(cfg.State), host.Served{Store: source.(*boltstore.Store), Node: d.node})
	if err != nil { // the node is worth more than its backups
		d.log.Error("no backup can be made, nor the key changed, while this node runs", "error", err)
		return nil
	}
	d.atEnd(server.Close)
	return nil
}

func (d *daemon) nodeConfig() wgnode.Config {
	node := d.config().NodeConfig()
	node.AcceptNewKey, node.Dataplane, node.Logger, node.Tracer = d.AcceptNewKey, d.choice.Dataplane, d.log, d.traces.Tracer()
	if node.Endpoint == "" {
		endpoint, how := host.Reach(host.Primary())
		node.Endpoint = endpoint
		if how != host.Public {
			d.log.Warn("clients are told an address that not all may reach", "endpoint", endpoint,
				"advice", how.Advice(names(), endpoint, node.ListenPort))
		}
	}
	d.endpoint = node.Endpoint
	return node
}

// kernelOnly are the settings that were changed and mean nothing without the kernel's dataplane.
func kernelOnly(cfg config.Node) (keys []string) {
	for _, s := range []struct {
		key string
		set bool
	}{
		{"node.uplink", cfg.Uplink != ""},
		{"node.source_addrs", len(cfg.SourceAddrs) > 0},
		{"node.nat", cfg.NAT == config.NoNAT},
		{"node.fwmark", cfg.FirewallMark != 0},
		{"node.control_ports", len(cfg.ControlPorts) > 0},
	} {
		if s.set {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// startNode starts the node.
func (d *daemon) startNode(ctx context.Context) error {
	if err := d.node.Start(ctx); err != nil {
		return d.choice.StartError(names(), err, d.config().Node.ListenPort)
	}
	return nil
}

// close undoes what was opened, last first.
func (d *daemon) close() error {
	var errs []error
	for _, end := range slices.Backward(d.ends) {
		errs = append(errs, end())
	}
	d.ends = nil
	return errors.Join(errs...)
}

func (d *daemon) atEnd(end func() error) { d.ends = append(d.ends, end) }
