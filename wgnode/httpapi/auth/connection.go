package auth

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// peer is the process at the other end of a unix socket, as it was when it connected.
type peer struct {
	uid uint32
	err error // the system does not tell
}

type peerKey struct{}

// ConnContext is for the field of that name of an [http.Server]: it finds out which user is at the other end of a unix socket
// (SO_PEERCRED, unix(7); Linux). What wraps a connection has a method NetConn that returns it, as [tls.Conn] does.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	for {
		if socket, ok := c.(*net.UnixConn); ok {
			uid, err := peerUID(socket)
			return context.WithValue(ctx, peerKey{}, peer{uid, err})
		}
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return ctx
		}
		c = wrapper.NetConn()
	}
}

// peerOf returns who is at the other end of a unix socket. Not ok: the request came otherwise.
func peerOf(ctx context.Context) (peer, bool) {
	p, ok := ctx.Value(peerKey{}).(peer)
	return p, ok
}

// user recognises a request by the user who makes it.
func user(r *http.Request, p *policy, from peer) (Principal, *refusal) {
	if via := forwardedBy(r); via != "" {
		return Principal{}, forbidden(WrongUser,
			"the request came through a proxy (it has %s), so it is not of the socket's user: sign it", via)
	}
	if from.err != nil {
		return Principal{}, denied(WrongUser, "the system does not tell who is at the other end of the socket: sign the request")
	}
	scopes, ok := p.users[from.uid]
	if !ok {
		return Principal{}, forbidden(WrongUser, "user %d may not: have the node's configuration name that user", from.uid)
	}
	return Principal{Name: fmt.Sprintf("unix:%d", from.uid), Method: MethodUnix, Scopes: scopes}, nil
}

// plain recognises a request of this host by its plain token.
func plain(r *http.Request, p *policy, token string) (Principal, *refusal) {
	if !ofThisHost(r) {
		return Principal{}, denied(RemoteBearer, "a plain token counts through the loopback and a unix socket only: sign the request")
	}
	if via := forwardedBy(r); via != "" {
		return Principal{}, denied(RemoteBearer,
			"a plain token counts from this host only, and the request came through a proxy (it has %s): sign it", via)
	}
	principal, ok := p.bearer(token)
	if !ok {
		return Principal{}, denied(WrongBearer, "nobody has this token")
	}
	return principal, nil
}

// ofThisHost reports whether the connection of a request leads from this host to this host. No header has a say.
func ofThisHost(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	if _, ok := local.(*net.UnixAddr); ok {
		return true
	}
	return isLoopback(local.String()) && isLoopback(r.RemoteAddr)
}

func isLoopback(hostport string) bool {
	ap, err := netip.ParseAddrPort(hostport)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// forwardedBy returns a header that proxies set, if the request has one.
func forwardedBy(r *http.Request) string {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if len(r.Header[name]) > 0 {
			return name
		}
	}
	return ""
}

// check names what is wrong with a rule.
func (c Certificate) check() error {
	names := 0
	if c.Any {
		names++
	}
	for _, name := range []string{c.CommonName, c.DNS, c.URI, c.Email} {
		if name != "" {
			names++
		}
	}
	if names != 1 {
		return fmt.Errorf("%d names to compare: give one of CommonName, DNS, URI and Email, or Any", names)
	}
	if c.Any && c.Name == "" { // each certificate says its own
		return checkScopes(c.Scopes)
	}
	if err := checkName(c.name(nil)); err != nil {
		return err
	}
	return checkScopes(c.Scopes)
}

// name is that of the principal who has shown a certificate.
func (c Certificate) name(cert *x509.Certificate) string {
	if c.Name != "" {
		return c.Name
	}
	if c.Any {
		return nameOf(cert)
	}
	return c.CommonName + c.DNS + c.URI + c.Email
}

// nameOf is what a certificate calls its subject; empty: it has no name that a principal can have.
func nameOf(cert *x509.Certificate) string {
	names := append([]string{cert.Subject.CommonName}, cert.DNSNames...)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	for _, name := range append(names, cert.EmailAddresses...) {
		if checkName(name) == nil {
			return name
		}
	}
	return ""
}

// fits reports whether a certificate has the name of the rule.
func (c Certificate) fits(cert *x509.Certificate) bool {
	switch {
	case c.Any:
		return nameOf(cert) != ""
	case c.CommonName != "":
		return cert.Subject.CommonName == c.CommonName
	case c.DNS != "":
		return slices.ContainsFunc(cert.DNSNames, func(name string) bool { return strings.EqualFold(name, c.DNS) })
	case c.URI != "":
		for _, u := range cert.URIs {
			if u.String() == c.URI {
				return true
			}
		}
		return false
	default:
		return slices.Contains(cert.EmailAddresses, c.Email)
	}
}

// certificate recognises a request by the client certificate of its connection, which the server has verified.
func (a *Authenticator) certificate(r *http.Request, p *policy) (Principal, *refusal) {
	chain := r.TLS.VerifiedChains[0]
	leaf := chain[0]
	now := a.cfg.Now()
	if now.After(leaf.NotAfter) { // connections may live long
		return Principal{}, denied(WrongCert, "the client certificate has expired: connect anew, with the one that follows it")
	}
	if a.cfg.ClientCAs != nil {
		between := x509.NewCertPool()
		for _, cert := range r.TLS.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		roots := a.cfg.ClientCAs()
		if roots == nil { // nobody, which to Verify would be the system's
			roots = x509.NewCertPool()
		}
		if _, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}); err != nil {
			return Principal{}, denied(WrongCert, "the client certificate's CA counts no more: connect anew, with one of a CA that does")
		}
	}
	for _, rule := range p.certs {
		if rule.fits(leaf) {
			return Principal{Name: rule.name(leaf), Method: MethodMTLS, Scopes: rule.Scopes}, nil
		}
	}
	return Principal{}, forbidden(WrongCert,
		"the client certificate (CN %.128q) is nobody's: have the node's configuration name it",
		leaf.Subject.CommonName)
}
