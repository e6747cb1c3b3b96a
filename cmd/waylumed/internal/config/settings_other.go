package config

import (
	"log/slog"
	"os"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/usagelog"
)

func otherSettings() []Setting {
	return []Setting{
		one("admin.listen", func(c *Config) *Address { return &c.Admin.Listen }, optional(address()), words.None,
			"Where metrics are served, without any authentication: a loopback or private address", bySocket,
			examples("127.0.0.1:9586", "unix:/run/waylume/admin.sock")),
		one("admin.pprof", func(c *Config) *bool { return &c.Admin.Pprof }, boolean(), "false",
			"Serve profiles of the process there, too, on this host alone"),
		one("admin.peer_series", func(c *Config) *bool { return &c.Admin.PeerSeries }, boolean(), "false",
			"Export series for each peer: as many as there are peers"),

		one("log.format", func(c *Config) *string { return &c.Log.Format }, oneOf(Text, JSON), Text, "How the log is written"),
		one("log.level", func(c *Config) *slog.Level { return &c.Log.Level }, level(), "info", "The least that is logged", reloadable),
		one("log.redaction", func(c *Config) *string { return &c.Log.Redaction }, oneOf(Off, Partial, Strict), Partial,
			"Whether addresses, keys and account IDs are logged, in part, or not at all", reloadable),

		one("audit.file", func(c *Config) *string { return &c.Audit.File }, optional(path("file")), "",
			"The log of changes made through the API: who, what, result", inPath,
			derived("audit.log in node.state", func(c *Config) { c.Audit.File = inState(c, "audit.log") })),
		one("audit.retention", func(c *Config) *time.Duration { return &c.Audit.Retention }, duration(day, usagelog.MaxRetention),
			"366d",
			"How long its entries are kept"),
		one("idempotency.retention", func(c *Config) *time.Duration { return &c.Idempotency.Retention }, duration(time.Minute, 30*day),
			"1d",
			"How long a request that comes again with its idempotency key gets the same answer"),

		one("tracing.endpoint", func(c *Config) *string { return &c.Tracing.Endpoint }, optional(link()), words.None,
			"Where traces are sent, by OTLP over HTTP", examples("https://otel.example.com:4318/v1/traces")),
		one("tracing.sample_ratio", func(c *Config) *float64 { return &c.Tracing.SampleRatio }, number("fraction of requests", 0, 1),
			"0.1",
			"How many of them are traced"),
		one("tracing.headers", func(c *Config) *Secret { return &c.Tracing.Headers }, optional(secret("name=value, with commas between",
			validHeaders)),
			words.None,
			"Headers to send with traces, such as a key", secretly),

		one("allowlist.file", func(c *Config) *string { return &c.Allowlist.File }, optional(path("file")), words.None,
			"Kernel dataplane: addresses and prefixes, one to a line, that alone reach the API's TCP ports and node.control_ports, "+
				"beside this host and node.control_allow", inPath),
		one("allowlist.url", func(c *Config) *string { return &c.Allowlist.URL }, optional(source()), words.None,
			"The same, from a URL"),
		one("allowlist.refresh", func(c *Config) *time.Duration { return &c.Allowlist.Refresh }, duration(10*time.Second, day), "5m",
			"How often it is read again; the last good one holds while it cannot be"),

		one("run.drain_timeout", func(c *Config) *time.Duration { return &c.Run.DrainTimeout }, duration(0, time.Hour), "30s",
			"How long an end waits for requests to be finished", reloadable),
		one("run.stop", func(c *Config) *string { return &c.Run.Stop }, oneOf(CloseDataplane, KeepDataplane), CloseDataplane,
			"What becomes of the kernel dataplane at the end: closed, or kept, so that peers go on until the next start takes it over"),
		one("run.watchdog", func(c *Config) *bool { return &c.Run.Watchdog }, boolean(), "true",
			"Tell systemd's watchdog, where there is one, that the node is well"),

		one("privacy.max_retention", func(c *Config) *time.Duration { return &c.Privacy.MaxRetention },
			optional(duration(day, usagelog.MaxRetention)), words.None,
			"The longest that anything about people may be kept: a longer retention elsewhere is refused"),
	}
}

// hostName is what the node is called unless it is told. A host that does not know its name leaves it empty.
func hostName(c *Config) {
	if name, err := os.Hostname(); err == nil {
		c.Node.Name = name
	}
}
