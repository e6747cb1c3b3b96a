package config

import (
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
)

// checker looks at what settings come to together. A rule is passed over where a setting that it is about is wrong by itself.
type checker struct {
	*reader
	cfg     *Config
	origins map[string]Origin
	now     time.Time
}

func (r *reader) check(cfg *Config, origins map[string]Origin, now time.Time) {
	c := checker{r, cfg, origins, now}
	c.node()
	c.dataplane()
	c.listeners()
	c.tls()
	c.authentication()
	c.lists()
	c.fleet()
	c.retentions()
	if cfg.Profile == Production {
		c.production()
	}
}

// sound says that none of some settings is wrong by itself.
func (c checker) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return c.bad[key] })
}

// is adds a problem of a setting, at the place where it was decided.
func (c checker) is(key, format string, args ...any) { c.add(key, c.origins[key], format, args...) }

// given says that somebody decided a setting.
func (c checker) given(key string) bool { return c.origins[key].Source != FromDefault }

func (c checker) node() {
	if c.cfg.Node.State == "" && c.sound("node.state") {
		c.is("node.state", "there is no home directory to keep state in: name a directory")
	}
	keys := map[string]string{
		"Endpoint": "node.endpoint", "DNS": "node.dns", "ListenPort": "node.listen_port", "UsageLogPeriod": "node.usage_log",
		"Pool.Prefixes": "node.pool", "Pool.Excluded": "node.pool_excluded", "MTU": "node.mtu", "SyncPeriod": "node.sync_period",
		"CheckpointPeriod": "node.checkpoint_period", "SpeedLimit": "node.download", "PrivateKeyFile": "node.private_key_file",
	}
	for _, problem := range words.Node(c.cfg.NodeConfig()) {
		text, _, _ := strings.Cut(problem.Text, ", or 0 for ") // which is not how a person asks for the default
		if key, ok := keys[problem.Field]; ok {
			c.is(key, "%s", text)
		} else {
			c.add("node", Origin{}, "%s %s", problem.Field, problem.Text)
		}
	}
}

// aboutKernel are the settings that do nothing where packets go through the process.
func aboutKernel() []string {
	return []string{
		"node.interface", "node.uplink", "node.nat", "node.source_addrs", "node.fwmark", "node.leave_firewalls", "node.control_ports",
		"node.control_allow", "allowlist.file", "allowlist.url", "run.stop",
	}
}

func (c checker) dataplane() {
	def := newReader(c.table)
	standard, _ := def.resolve()
	if c.cfg.Node.Dataplane == UserspaceDataplane && c.sound("node.dataplane") {
		for _, key := range aboutKernel() {
			get := c.byKey[key].bind.get
			if c.given(key) && c.sound(key) && !get(c.cfg, false).equal(get(&standard, false)) {
				c.is(key, "is about the kernel dataplane: leave it out, or set node.dataplane to kernel (%s)", c.origins["node.dataplane"])
			}
		}
	}
	kernel := c.cfg.Kernel()
	if c.cfg.Node.NAT == NoNAT && len(kernel.SourceAddrs) > 0 && c.sound("node.nat", "node.source_addrs") {
		c.is("node.source_addrs", "node.nat none leaves packets their own source address: give one of the two")
		kernel.SourceAddrs = nil
	}
	if len(kernel.ControlPorts) == 0 && len(kernel.ControlAllow) > 0 && c.sound("node.control_ports", "node.control_allow") {
		c.is("node.control_allow", "says who reaches node.control_ports, which are none: name them")
		kernel.ControlAllow = nil
	}
	keys := map[string]string{
		"Interface": "node.interface", "Uplink": "node.uplink", "SourceAddrs": "node.source_addrs",
		"ControlAllow": "node.control_allow",
	}
	for _, problem := range words.Kernel(kernel) {
		if key, ok := keys[problem.Field]; ok {
			c.is(key, "%s", problem.Text)
		} else if c.sound("node.control_ports") {
			c.add("node", Origin{}, "%s %s", problem.Field, problem.Text)
		}
	}
}

func (c checker) listeners() {
	admin := c.cfg.Admin.Listen
	if admin != (Address{}) && slices.Contains(c.cfg.API.Listen, admin) {
		c.is("admin.listen", "%s is in api.listen too: give another port or path", admin)
	}
	if c.cfg.Admin.Pprof && c.sound("admin.listen", "admin.pprof") {
		switch {
		case admin == (Address{}):
			c.is("admin.pprof", "is served at admin.listen, which is none: set that to such as 127.0.0.1:9586")
		case !admin.Loopback():
			c.is("admin.pprof", "shows memory of the process to who asks, and admin.listen (%s) is reached from elsewhere: "+
				"listen at 127.0.0.1 or at a unix socket, or switch it off", admin)
		}
	}
	if !admin.Loopback() {
		c.warn("admin.listen", c.origins["admin.listen"], "%s is reached from elsewhere, and metrics need no authentication: "+
			"see that a firewall keeps others out", admin)
	}
	if plainHTTP(c.cfg.Tracing.Endpoint) {
		c.warn("tracing.endpoint", c.origins["tracing.endpoint"], "is http beyond this host: whoever is on the way reads the traces, "+
			"and the headers that are sent with them")
	}
	if s := c.cfg.API.Socket; s.Mode&0o002 != 0 && len(s.UIDs) == 0 && c.sound("api.socket.mode", "api.socket.uids") {
		c.is("api.socket.mode", "is %04o, and api.socket.uids is none: everybody on this host may connect, and nobody "+
			"but root is served: name the users, or take 0660", s.Mode)
	}
	for _, p := range c.cfg.API.TrustedProxies {
		if p.Bits() == 0 {
			c.is("api.trusted_proxies", "%s is everybody, who could then claim any address: name the proxies", p)
		}
	}
}

func (c checker) retentions() {
	most := c.cfg.Privacy.MaxRetention
	if most == 0 || !c.sound("privacy.max_retention") {
		return
	}
	for _, kept := range []struct {
		key  string
		on   bool
		time time.Duration
	}{
		{"node.usage_retention", c.cfg.Node.UsageLog != 0, c.cfg.Node.UsageRetention},
		{"audit.retention", c.cfg.Audit.File != "", c.cfg.Audit.Retention},
		{"idempotency.retention", true, c.cfg.Idempotency.Retention},
	} {
		if kept.on && kept.time > most && c.sound(kept.key) {
			c.is(kept.key, "is %s, and privacy.max_retention allows %s (%s): shorten it", words.InWords(kept.time), words.InWords(most),
				c.origins["privacy.max_retention"])
		}
	}
}

// production says all that a node on the internet lacks.
func (c checker) production() {
	lacks := func(key, format string, args ...any) {
		if c.sound(key) {
			c.is(key, "profile "+Production+" "+format, args...)
		}
	}
	api := c.cfg.API
	if tcp := api.tcp(); len(tcp) > 0 && api.TLS.CertFile == "" {
		lacks("api.tls.cert_file", "needs TLS for %s: give api.tls.cert_file and api.tls.key_file, or listen at unix sockets alone",
			list(tcp))
	}
	if len(api.Listen) > 0 && !c.cfg.Signed() && c.sound("api.auth.jwks.url", "api.auth.jwks.file", "api.tls.client_ca_file") {
		lacks("api.auth.keys", "needs signed requests: give api.auth.keys, api.auth.jwks or api.tls.client_ca_file; "+
			"'waylumed init --production' makes a key")
	}
	if api.Auth.BearerToken.Reveal() != "" {
		lacks("api.auth.bearer_token", "takes no bearer token, which whoever sees it once can use: leave it out, and sign requests")
	}
	if c.cfg.Log.Redaction != Strict {
		lacks("log.redaction", "needs log.redaction %s: it is %s", Strict, c.cfg.Log.Redaction)
	}
	if c.cfg.Node.Store != FileStore {
		lacks("node.store", "needs a store that outlasts the process: set node.store to %s", FileStore)
	}
	if c.cfg.Audit.File == "" {
		lacks("audit.file", "needs a log of changes: leave audit.file out, or name a file")
	}
}

// list joins values as a person reads them.
func list[T interface{ String() string }](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}
