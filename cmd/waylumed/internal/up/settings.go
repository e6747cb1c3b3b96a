package up

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// Settings are the words of a command line, as they were written; Default has what they are when nothing is.
type Settings struct {
	// State is the directory of the node's state.
	State string
	// PrivateKeyFile is the file of the node's private key; empty: one in State. AcceptNewKey goes on with another key than the
	// one that peers know.
	PrivateKeyFile string
	AcceptNewKey   bool
	// ListenPort is the UDP port; 0 lets the system choose.
	ListenPort uint16
	// Endpoint is where clients reach the node, host or host:port; empty: the host's own address.
	Endpoint string
	// DNS are the resolvers that clients are told to use; none: [wgnode.DefaultDNS]. "none" alone: no resolver.
	DNS []string
	// Dataplane moves the packets: "auto", "kernel" or "userspace". Auto is the kernel's where this process may use it.
	Dataplane string
	// Interface and Uplink are the kernel's: the name of the tunnel's interface, and of the one that peers' packets may leave
	// by; empty: any.
	Interface, Uplink string
	// NAT says what source address peers' packets leave with, "masquerade" or "none"; SourceAddrs are those that they leave with
	// instead of the interface's. The kernel's, too, as all that follow.
	NAT         string
	SourceAddrs []string
	// FirewallMark is the mark of WireGuard's own packets; 0: none.
	FirewallMark uint32
	// LeaveFirewalls opens no way through other firewalls.
	LeaveFirewalls bool
	// ControlPorts are TCP ports of the host that only ControlAllow, addresses and prefixes, and the host itself reach.
	ControlPorts, ControlAllow []string

	// UsageLog is how often usage is logged, a duration that divides an hour or a day; "none": it is not. UsageRetention is how
	// long it stays known, in days, as "90d", or hours.
	UsageLog, UsageRetention string

	// NewPeer adds a peer to a node that has some.
	NewPeer  bool
	PeerName string
	// Speed is for both directions; Download and Upload take its place where they are set.
	Speed, Download, Upload string
	// Cap is the amount, CapPeriod what it is for: "none", "daily", "weekly" or "monthly".
	Cap, CapPeriod string
	// Account is the peer's; AccountSpeed and AccountCap are the account's, and leave it as it is when empty.
	Account, AccountSpeed, AccountCap string

	// NoQR leaves the QR code out.
	NoQR bool
	// Given names the flags that were given: those for a new peer need one.
	Given []string
}

// Default are the settings of a command line without flags.
func Default() Settings {
	return Settings{
		ListenPort: 51820, Dataplane: host.Auto, Interface: kernel.DefaultInterface, NAT: masquerade,
		UsageLog: words.InWords(wgnode.DefaultUsageLogPeriod), UsageRetention: words.InWords(usagelog.DefaultRetention),
		PeerName: "first", Speed: "20mbit", Cap: "1GiB", CapPeriod: "none",
	}
}

// Periods are the values of Settings.CapPeriod.
func Periods() []string { return []string{"none", "daily", "weekly", "monthly"} }

// peerFlags are about a peer that is being made, by the names they have on the command line.
func peerFlags() []string {
	return []string{"peer-name", "speed", "download", "upload", "cap", "cap-period", "account", "account-speed", "account-cap"}
}

// plan is what settings come to.
type plan struct {
	node    wgnode.Config     // without dataplane, store, usage log and logger
	usage   *usagelog.Options // nil: no usage log
	kernel  kernel.Config
	peer    wgnode.PeerSpec
	account *wgnode.AccountSpec // nil: none to be made or changed
	// limited and capped say which parts of account were given.
	limited, capped bool
}

// SettingsError names everything that is wrong with settings.
type SettingsError struct {
	// Problems are sentences, each beginning with its flag.
	Problems []string
}

// Error lists all problems, one to a line.
func (e *SettingsError) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0]
	}
	return fmt.Sprintf("%d things are wrong:\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// reader turns words into values, and gathers what is wrong with them.
type reader struct{ problems []string }

func (r *reader) add(flag, format string, args ...any) {
	r.problems = append(r.problems, "--"+flag+": "+fmt.Sprintf(format, args...))
}

func (r *reader) rate(flag, text string) shaping.Rate {
	rate, err := words.Rate(text)
	if err != nil {
		r.add(flag, "%v", err)
	}
	return rate
}

// amount reads an amount of data; "none" and 0 are no cap.
func (r *reader) amount(flag, text string) quota.Bytes {
	amount, err := words.Amount(text)
	if err != nil {
		r.add(flag, "%v", err)
	}
	return amount
}

func (r *reader) name(flag, text string, least int) {
	switch {
	case len(text) < least:
		r.add(flag, "is empty")
	case len(text) > wgnode.MaxNameLen:
		r.add(flag, "has %d bytes: at most %d are allowed", len(text), wgnode.MaxNameLen)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		r.add(flag, "%q has bytes that are not text", text)
	}
}

// plan reads the settings; the error is a *SettingsError.
func (s Settings) plan() (plan, error) {
	var r reader
	var p plan
	if s.State == "" {
		r.add("state", "there is no home directory to keep state in: name a directory")
	}
	r.name("peer-name", s.PeerName, 1)
	p.peer.Name = s.PeerName
	p.peer.SpeedLimit = s.limit(&r)
	p.peer.DataCap = quota.Cap{Bytes: r.amount("cap", s.Cap), Period: s.period(&r)}
	s.readAccount(&r, &p)

	p.node.PrivateKeyFile, p.node.AcceptNewKey = cmp.Or(s.PrivateKeyFile, state.KeyFile(s.State)), s.AcceptNewKey
	p.node.ListenPort = s.ListenPort
	p.node.Endpoint = s.Endpoint
	p.node.DNS = s.resolvers(&r)
	s.readUsage(&r, &p)
	r.node(p.node)
	p.kernel = s.kernel(&r)
	if len(r.problems) > 0 {
		return plan{}, &SettingsError{r.problems}
	}
	return p, nil
}

func (s Settings) limit(r *reader) shaping.Limit {
	both := r.rate("speed", s.Speed)
	limit := shaping.Limit{Download: both, Upload: both}
	if s.Download != "" {
		limit.Download = r.rate("download", s.Download)
	}
	if s.Upload != "" {
		limit.Upload = r.rate("upload", s.Upload)
	}
	return limit
}

func (s Settings) period(r *reader) quota.Period {
	kind, ok := map[string]quota.PeriodKind{
		"none": quota.None, "daily": quota.Daily, "weekly": quota.Weekly, "monthly": quota.Monthly,
	}[s.CapPeriod]
	if !ok {
		r.add("cap-period", "%q is not a period: give %s", s.CapPeriod, strings.Join(Periods(), ", "))
	}
	return quota.Period{Kind: kind}
}

func (s Settings) readAccount(r *reader, p *plan) {
	p.limited, p.capped = s.AccountSpeed != "", s.AccountCap != ""
	if s.Account == "" {
		if p.limited || p.capped {
			r.add("account", "is not given, and --account-speed and --account-cap are about an account: name it")
		}
		return
	}
	r.name("account", s.Account, 1)
	p.peer.Account = s.Account
	p.account = &wgnode.AccountSpec{ID: s.Account}
	if p.limited {
		rate := r.rate("account-speed", s.AccountSpeed)
		p.account.SpeedLimit = shaping.Limit{Download: rate, Upload: rate}
	}
	if p.capped {
		p.account.DataCap = quota.Cap{Bytes: r.amount("account-cap", s.AccountCap), Period: s.period(&reader{})}
	}
}

func (s Settings) resolvers(r *reader) []netip.Addr {
	if slices.Equal(s.DNS, []string{"none"}) {
		return []netip.Addr{}
	}
	var addrs []netip.Addr
	for _, text := range s.DNS {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			r.add("dns", "%q is not an address: give resolvers as IP addresses, or none", text)
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// node has a node check its part, which touches nothing.
func (r *reader) node(cfg wgnode.Config) {
	flags := map[string]string{"Endpoint": "endpoint", "DNS": "dns", "ListenPort": "listen-port", "UsageLogPeriod": "usage-log"}
	for _, problem := range words.Node(cfg) {
		if flag, ok := flags[problem.Field]; ok {
			r.add(flag, "%s", problem.Text)
		} else {
			r.problems = append(r.problems, strings.TrimSpace(problem.Field+" "+problem.Text))
		}
	}
}
