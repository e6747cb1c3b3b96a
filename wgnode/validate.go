package wgnode

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// problems gathers what is wrong with an input, so that one error can name all of it.
type problems []Problem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, Problem{field, fmt.Sprintf(format, args...)})
}

// check adds an error that another package found, and each part of one that joins several.
func (p *problems) check(field string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			p.check(field, e)
		}
		return
	}
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*quota.CapError](err); ok {
		p.add(field+"."+e.Field, "%s %s", e.Value, e.Problem)
	} else if e, ok := errors.AsType[*ipam.ConfigError](err); ok && e.Index >= 0 {
		p.add(fmt.Sprintf("%s.%s[%d]", field, e.Field, e.Index), "%s %s", e.Value, e.Problem)
	} else if ok {
		p.add(field+"."+e.Field, "%s %s", e.Value, e.Problem)
	} else {
		p.add(field, "%v", err)
	}
}

func (p problems) err(what string) error {
	if len(p) == 0 {
		return nil
	}
	return &ValidationError{What: what, Problems: p}
}

// text checks what people write: names, IDs, labels.
func (p *problems) text(field, s string, least, most int) {
	switch {
	case len(s) < least:
		p.add(field, "is empty")
	case len(s) > most:
		p.add(field, "has %d bytes: at most %d are allowed", len(s), most)
	case !utf8.ValidString(s):
		p.add(field, "is not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		p.add(field, "has control characters")
	}
}

func (p *problems) labels(labels map[string]string) {
	if len(labels) > MaxLabels {
		p.add("Labels", "has %d entries: at most %d are allowed", len(labels), MaxLabels)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		field := fmt.Sprintf("Labels[%q]", abridge(key))
		p.text(field+" key", key, 1, MaxLabelKeyLen)
		p.text(field, labels[key], 0, MaxLabelValueLen)
	}
}

// dataCap checks a cap with the rates that quota takes as they are.
func (p *problems) dataCap(field string, c quota.Cap) {
	p.check(field, c.Validate())
	if c.AtEnd == quota.Throttle {
		p.check(field+".Throttle", throttleOf(c).Validate())
	}
}

// addrs checks the addresses that a caller asks for.
func (p *problems) addrs(addrs []netip.Addr, pool []netip.Prefix) {
	var seen [2]bool
	for i, addr := range addrs {
		field := fmt.Sprintf("Addrs[%d]", i)
		switch {
		case !addr.IsValid():
			p.add(field, "is the zero address")
			continue
		case addr.Is4In6():
			p.add(field, "%s is an IPv4 address in IPv6 form: use %s", addr, addr.Unmap())
			continue
		case addr.Zone() != "":
			p.add(field, "%s has a zone: tunnel addresses have none", addr)
			continue
		case !slices.ContainsFunc(pool, func(prefix netip.Prefix) bool { return prefix.Contains(addr) }):
			p.add(field, "%s is outside the pool %s", addr, join(pool))
		}
		family := 0
		if addr.Is6() {
			family = 1
		}
		if seen[family] {
			p.add(field, "%s is a second address of its family: a peer has one of each", addr)
		}
		seen[family] = true
	}
}

// expiry checks a time that is to come; zero never does.
func (p *problems) expiry(field string, at, now time.Time) {
	if !at.IsZero() && !at.After(now) {
		p.add(field, "%s is past", at.Format(time.RFC3339))
	}
}

func (p *problems) gracePeriod(field string, d time.Duration) {
	if d < 0 || d > MaxGracePeriod {
		p.add(field, "is %v: it must be 0 to %v", d, MaxGracePeriod)
	}
}

func (p *problems) idleTimeout(field string, d time.Duration) {
	if d != 0 && d < MinIdleTimeout || d > MaxIdleTimeout {
		p.add(field, "is %v: it must be %v to %v, or 0 for never", d, MinIdleTimeout, MaxIdleTimeout)
	}
}

func (p *problems) account(inv *inventory, id string) {
	if _, ok := inv.accounts[id]; !ok && id != "" {
		p.add("Account", "%q does not exist: create it with PutAccount", abridge(id))
	}
}

func (p *problems) publicKey(key wgtypes.Key, node session) {
	switch {
	case key == wgtypes.Key{}:
		// The node makes one.
	case key == node.publicKey:
		p.add("PublicKey", "is the node's own key")
	case node.owns(key):
		p.add("PublicKey", "is the node's former key, by which clients may know it until %s", node.overlap.until.Format(time.RFC3339))
	case lowOrder(key):
		p.add("PublicKey", "is a point of low order: no secret can be agreed with it")
	}
}

// validate checks what New can check without touching the system.
func (c Config) validate() error {
	var p problems
	if c.PrivateKeyFile != "" && c.PrivateKey != (wgtypes.Key{}) {
		p.add("PrivateKeyFile", "is given beside PrivateKey: give one of them")
	}
	if c.Endpoint != "" {
		p.check("Endpoint", checkEndpoint(c.Endpoint))
	}
	if _, err := ipam.New(c.Pool); err != nil {
		p.check("Pool", err)
	}
	if c.MTU < MinMTU || c.MTU > MaxMTU {
		p.add("MTU", "is %d: it must be %d to %d, or 0 for %d", c.MTU, MinMTU, MaxMTU, DefaultMTU)
	}
	p.resolvers(c.DNS)
	if c.Keepalive%time.Second != 0 || c.Keepalive > maxKeepalive {
		p.add("Keepalive", "is %v: it must be whole seconds, at most %d", c.Keepalive, int(maxKeepalive/time.Second))
	}
	p.check("SpeedLimit", c.SpeedLimit.Validate())
	p.check("Policy", c.Policy.Validate())
	if c.Dataplane == nil {
		p.add("Dataplane", "is not set: give one, for example from wgnode/userspace")
	}
	if c.EventBuffer < 1 || c.EventBuffer > MaxEventBuffer {
		p.add("EventBuffer", "is %d: it must be 1 to %d, or 0 for %d", c.EventBuffer, MaxEventBuffer, DefaultEventBuffer)
	}
	p.period("SyncPeriod", c.SyncPeriod, DefaultSyncPeriod)
	p.period("CheckpointPeriod", c.CheckpointPeriod, DefaultCheckpointPeriod)
	if d := c.UsageLogPeriod; d < MinUsageLogPeriod || d > MaxUsageLogPeriod || !dividesDays(d) {
		p.add("UsageLogPeriod", "is %v: it must be %v to %v and divide an hour or a day, or 0 for %v",
			d, MinUsageLogPeriod, MaxUsageLogPeriod, DefaultUsageLogPeriod)
	}
	return p.err("configuration")
}

func (p *problems) period(field string, period, fallback time.Duration) {
	if period < minPeriod {
		p.add(field, "is %v: it must be at least %v, or 0 for %v", period, minPeriod, fallback)
	}
}

func (p *problems) resolvers(dns []netip.Addr) {
	if len(dns) > maxDNS {
		p.add("DNS", "has %d resolvers: at most %d are allowed", len(dns), maxDNS)
		return
	}
	for i, addr := range dns {
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
			p.add(fmt.Sprintf("DNS[%d]", i), "%s cannot be a resolver's address", addr)
		}
	}
}

// checkEndpoint accepts a host name or an address, with a port or without. What it accepts has no character that could
// end a line of a client's configuration.
func checkEndpoint(endpoint string) error {
	host := strings.TrimSuffix(strings.TrimPrefix(endpoint, "["), "]")
	if h, port, err := net.SplitHostPort(endpoint); err == nil {
		host = h
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("port %q is not a number from 1 to 65535", port)
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
			return fmt.Errorf("%s is not an address that clients can reach", addr)
		}
		return nil
	}
	if !isHostName(host) {
		return fmt.Errorf("%q is neither a host name nor an address, with :port or without", abridge(endpoint))
	}
	return nil
}

// isHostName follows RFC 1123, section 2.1, and lets underscores pass as resolvers do.
func isHostName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if r != '-' && r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)) {
				return false
			}
		}
	}
	return true
}

// throttleOf is the limit that holds when a throttling cap is used up.
func throttleOf(c quota.Cap) shaping.Limit {
	if c.AtEnd != quota.Throttle {
		return shaping.Limit{}
	}
	return shaping.Limit{Download: shaping.Rate(c.ThrottleDownload), Upload: shaping.Rate(c.ThrottleUpload)}
}

// abridge keeps a hostile text from filling an error.
func abridge(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
