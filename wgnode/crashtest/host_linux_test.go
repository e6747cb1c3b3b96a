package crashtest

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// host is the kernel that a node of package kernel works with.
type host struct {
	// bare is how it is without one.
	bare map[string]string
	// adopted are the rules that a node had which was closed thereafter, with nothing asked of it: the next one, which finds
	// nothing, must make the same of the same contents.
	adopted  string
	contents string
	last     string // rules that were looked at last
	lastOf   string // contents then
	classes  int    // most that were seen
}

// mostClasses is beyond what was seen after any number of kills, 208: those that a node keeps ready, and for each account that there
// was at a time as many as it had peers at most, since a class cannot change its parent.
const mostClasses = 400

func newHost() (h *host, err error) {
	h = new(host)
	h.bare, err = lookAtHost()
	return h, err
}

func (*host) keeps() kept { return keptByKernel }

// lookAtHost shows all that a node may have changed, without what changes by itself.
func lookAtHost() (map[string]string, error) {
	views := make(map[string]string)
	for _, view := range []string{
		"ip -o link show", "ip -o address show", "ip -4 route show table all", "ip -6 route show table all", "ip rule show",
		"tc qdisc show", "nft --stateless list ruleset", "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
	} {
		out, err := output(view)
		if err != nil {
			return nil, err
		}
		views[view] = out
	}
	return views, nil
}

func output(command string) (string, error) {
	words := strings.Fields(command)
	var complaints strings.Builder
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command, err, complaints.String())
	}
	return string(out), nil
}

// transient is what differs between two nodes with the same state: the classes that were chosen, numbers of quotas and what is
// left of them, and marks of rules that speak of an interface by its index.
var transient = regexp.MustCompile(`\b1:[0-9a-f]+\b|_[lw]\d+\b|(over|until) \d+ [kmg]?bytes| #[0-9a-f]{16}|elements = `)

// rules are the tables with their elements and objects, a line each, without what is transient.
func rules() (string, error) {
	out, err := output("nft --stateless list ruleset")
	if err != nil {
		return "", err
	}
	out = transient.ReplaceAllString(out, "*")
	lines := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' || r == ',' })
	for i, l := range lines {
		lines[i] = strings.Trim(l, "\t {}*")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

// inspect compares the rules with those that were adopted before by a node with the same contents, and counts classes.
func (h *host) inspect(c *contents) (err error) {
	if h.last, err = rules(); err != nil {
		return err
	}
	h.lastOf = text(c)
	if h.adopted != "" && h.contents == h.lastOf && h.adopted != h.last {
		return fmt.Errorf("a fresh start makes other rules than were adopted for the same contents: %s", lineDifference(h.adopted, h.last))
	}
	links, err := output("ip -o link show")
	if err != nil {
		return err
	}
	if got, want := strings.Count(links, "\n"), strings.Count(h.bare["ip -o link show"], "\n")+2; got != want {
		return fmt.Errorf("there are %d links, want %d: %s", got, want, links)
	}
	for _, link := range []string{interfaceName, interfaceName + "-up"} {
		out, err := output("tc class show dev " + link)
		if err != nil {
			return err
		}
		h.classes = max(h.classes, strings.Count(out, "\n"))
	}
	if h.classes > mostClasses {
		return fmt.Errorf("one interface has %d classes, which no %d peers need", h.classes, len(c.Peers))
	}
	return nil
}

// forget has no rules compared with those that were looked at last.
func (h *host) forget() { h.adopted, h.contents, h.last, h.lastOf = "", "", "", "" }

// inspectGrave sees that nothing is left of a node that was closed.
func (h *host) inspectGrave(closed bool) error {
	if !closed {
		h.adopted, h.contents = "", ""
		return nil
	}
	h.adopted, h.contents = h.last, h.lastOf
	now, err := lookAtHost()
	if err != nil {
		return err
	}
	for view, before := range h.bare {
		if now[view] != before {
			return fmt.Errorf("a node was closed, and %s is not as it was before: %s", view, lineDifference(before, now[view]))
		}
	}
	return nil
}

// text is what of contents the rules depend on.
func text(c *contents) string {
	var b strings.Builder
	for _, p := range c.Peers {
		fmt.Fprintln(&b, p.PublicKey, p.Addrs, p.Expired, p.Account, p.SpeedLimit, p.DataCap, c.Usage[subject{Peer: p.PublicKey}.String()])
	}
	for _, a := range c.Accounts {
		fmt.Fprintln(&b, a.ID, a.SpeedLimit, a.DataCap, c.Usage[subject{Account: a.ID}.String()])
	}
	return b.String()
}

func lineDifference(before, after string) string {
	count := make(map[string]int)
	for line := range strings.Lines(before) {
		count[line]--
	}
	for line := range strings.Lines(after) {
		count[line]++
	}
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(count)) {
		if n := count[line]; n != 0 {
			fmt.Fprintf(&b, "%+d %q; ", n, line)
		}
	}
	return b.String()
}
