package wgnode

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// ClientConfig is what a peer's device needs to use the node as its exit. With a private key it holds a secret.
type ClientConfig struct {
	// PrivateKey is the device's own; zero: the person who uses the configuration fills it in.
	PrivateKey wgtypes.Key
	// Addrs are the device's tunnel addresses.
	Addrs []netip.Addr
	// DNS are the resolvers to use; empty: the device goes on with its own.
	DNS []netip.Addr
	// MTU of the tunnel, in bytes.
	MTU int
	// ServerKey is the node's public key.
	ServerKey wgtypes.Key
	// PresharedKey is zero for a peer that has none.
	PresharedKey wgtypes.Key
	// AllowedIPs is everything, of both families, so that no traffic passes beside the tunnel.
	AllowedIPs []netip.Prefix
	// Endpoint is where the node is reached: host:port.
	Endpoint string
	// Keepalive is the interval of keepalives, in whole seconds; 0: none.
	Keepalive time.Duration
}

// ClientConfig returns the configuration for a peer's device. The private key is the one that AddPeer returned, or zero
// if the device has its own. It fails when the node has no [Config].Endpoint, and when the private key is another peer's.
func (n *Node) ClientConfig(key, private wgtypes.Key) (ClientConfig, error) {
	const op = "make client configuration of"
	fail := func(err error) (ClientConfig, error) { return ClientConfig{}, &OpError{op, OfPeer(key), err} }

	if n.cfg.Endpoint == "" {
		return fail(&ValidationError{"configuration", []Problem{{"Endpoint",
			"is not set: set Config.Endpoint to the host name or address (and port) at which clients reach this node"}}})
	}
	if private != (wgtypes.Key{}) && private.PublicKey() != key {
		return fail(&ValidationError{"client configuration", []Problem{{"private",
			"is not the private key of this peer"}}})
	}
	if err := n.life.check(); err != nil {
		return fail(err)
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	p, ok := n.inv.peers.Get(key)
	if !ok {
		return fail(ErrNotFound)
	}
	return ClientConfig{
		PrivateKey:   private,
		Addrs:        slices.Clone(p.addrs),
		DNS:          slices.Clone(n.cfg.DNS),
		MTU:          n.cfg.MTU,
		ServerKey:    n.up.publicKey,
		PresharedKey: keyOf(p.presharedKey),
		AllowedIPs:   []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
		Endpoint:     withPort(n.cfg.Endpoint, n.up.info.ListenPort),
		Keepalive:    n.cfg.Keepalive,
	}, nil
}

// withPort adds a port to an endpoint that names none.
func withPort(endpoint string, port uint16) string {
	if _, _, err := net.SplitHostPort(endpoint); err == nil {
		return endpoint
	}
	return net.JoinHostPort(strings.Trim(endpoint, "[]"), strconv.Itoa(int(port)))
}

// String is the configuration as wg-quick(8) and the WireGuard apps read it. Without a private key a comment stands in
// the place where one belongs.
func (c ClientConfig) String() string {
	var b strings.Builder
	b.WriteString("[Interface]\n")
	if c.PrivateKey == (wgtypes.Key{}) {
		b.WriteString("# PrivateKey = put this device's private key here\n")
	} else {
		fmt.Fprintf(&b, "PrivateKey = %s\n", c.PrivateKey)
	}
	addresses := make([]netip.Prefix, len(c.Addrs))
	for i, addr := range c.Addrs {
		addresses[i] = netip.PrefixFrom(addr, addr.BitLen())
	}
	fmt.Fprintf(&b, "Address = %s\n", join(addresses))
	if len(c.DNS) > 0 {
		fmt.Fprintf(&b, "DNS = %s\n", join(c.DNS))
	}
	if c.MTU != 0 {
		fmt.Fprintf(&b, "MTU = %d\n", c.MTU)
	}
	fmt.Fprintf(&b, "\n[Peer]\nPublicKey = %s\n", c.ServerKey)
	if c.PresharedKey != (wgtypes.Key{}) {
		fmt.Fprintf(&b, "PresharedKey = %s\n", c.PresharedKey)
	}
	fmt.Fprintf(&b, "AllowedIPs = %s\n", join(c.AllowedIPs))
	fmt.Fprintf(&b, "Endpoint = %s\n", c.Endpoint)
	if c.Keepalive > 0 {
		fmt.Fprintf(&b, "PersistentKeepalive = %d\n", int(c.Keepalive/time.Second))
	}
	return b.String()
}

// WriteTo writes String.
func (c ClientConfig) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, c.String())
	return int64(n), err
}

func join[T fmt.Stringer](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.String()
	}
	return strings.Join(texts, ", ")
}
