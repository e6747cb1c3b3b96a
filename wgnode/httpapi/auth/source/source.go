// Package source says where a request came from, for limits and for the log: the address of the connection, unless that is a
// proxy which is trusted to tell.
package source

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Headers by which a proxy says for whom it asks.
const (
	XForwardedFor = "X-Forwarded-For"
	Forwarded     = "Forwarded" // RFC 7239
)

// Source is where a request came from. The zero Source is a unix socket, or nothing that has an address.
type Source struct {
	Addr netip.Addr
}

// String is the address, or "unix".
func (s Source) String() string {
	if !s.Addr.IsValid() {
		return "unix"
	}
	return s.Addr.String()
}

// Group is what counts as one for limits: an IPv4 address, or the /64 of an IPv6 address, which one host has for itself (RFC
// 6177). That of the zero Source is the zero prefix.
func (s Source) Group() netip.Prefix { return groupOf(s.Addr) }

func groupOf(addr netip.Addr) netip.Prefix {
	if !addr.IsValid() {
		return netip.Prefix{}
	}
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil { // of an address of that family there always is one
		panic(err)
	}
	return p
}

// Of returns the source that an address of the net package is.
func Of(addr net.Addr) Source {
	if addr == nil {
		return Source{}
	}
	return parse(addr.String())
}

// parse reads an address with a port. Anything else is the zero Source.
func parse(hostport string) Source {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return Source{}
	}
	return Source{ap.Addr().Unmap().WithZone("")}
}

// Resolver finds the sources of requests. A nil Resolver trusts no proxy. It may be used concurrently.
type Resolver struct {
	proxies []netip.Prefix
	header  string
}

// New returns a resolver that believes proxies of these prefixes what one header says, XForwardedFor or Forwarded: the one that
// they set, for the other they may hand on as they got it. Every proxy on the way must append to it.
func New(header string, proxies ...netip.Prefix) (*Resolver, error) {
	if header != XForwardedFor && header != Forwarded {
		return nil, fmt.Errorf("header %q: a proxy says for whom it asks in %s or %s: name the one that yours sets", header,
			XForwardedFor, Forwarded)
	}
	r := &Resolver{header: header}
	for _, p := range proxies {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("trusted proxy %v: give an address with its prefix, like 192.0.2.0/24, and no bits beyond it", p)
		}
		r.proxies = append(r.proxies, p)
	}
	return r, nil
}

// Trusts reports whether an address is a trusted proxy's.
func (r *Resolver) Trusts(addr netip.Addr) bool {
	return r != nil && slices.ContainsFunc(r.proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Of returns the source of a request: the address of the connection or, if that is a trusted proxy's, the rightmost address in
// the header that is not. What stands to the left of that address, or of anything that is none, is anybody's word and does not
// count.
func (r *Resolver) Of(req *http.Request) Source {
	at := parse(req.RemoteAddr)
	if !r.Trusts(at.Addr) {
		return at
	}
	values := req.Header.Values(r.header)
	for _, value := range slices.Backward(values) {
		for rest, more := value, true; more; {
			var element string
			if cut := strings.LastIndexByte(rest, ','); cut >= 0 {
				rest, element = rest[:cut], rest[cut+1:]
			} else {
				element, more = rest, false
			}
			addr, ok := r.read(element)
			if !ok {
				return at
			}
			if at = (Source{addr}); !r.Trusts(addr) {
				return at
			}
		}
	}
	return at
}

// read reads one element of the header.
func (r *Resolver) read(element string) (netip.Addr, bool) {
	node := strings.TrimSpace(element)
	if r.header == Forwarded {
		node = forNode(node)
	}
	if ap, err := netip.ParseAddrPort(node); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(node, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}

// forNode returns the value of "for" in an element of the header Forwarded (RFC 7239, section 4). Empty: there is none.
func forNode(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}
