package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where a listener listens: a unix socket or a TCP port.
type Address struct {
	// Network is "unix" or "tcp", as [net.Listen] has it; empty for no listener.
	Network string
	// Address is a path, or host:port with an IP address, "localhost" or nothing for the host.
	Address string
}

const unixPrefix = "unix:"

// maxSocketPath is the longest path of a unix socket that every system takes (macOS and the BSDs: 104 bytes with the final 0).
const maxSocketPath = 103

// String writes the address as ParseAddress reads it.
func (a Address) String() string {
	if a.Network == "unix" {
		return unixPrefix + a.Address
	}
	return a.Address
}

// Loopback reports whether only this host reaches the address.
func (a Address) Loopback() bool {
	if a.Network != "tcp" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Port is the TCP port; not ok for a unix socket.
func (a Address) Port() (port uint16, ok bool) {
	if a.Network != "tcp" {
		return 0, false
	}
	_, text, err := net.SplitHostPort(a.Address)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil
}

// ParseAddress reads "unix:/run/waylume/api.sock", "127.0.0.1:8443", "[::1]:8443" or, for all addresses of the host, ":8443".
func ParseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, unixPrefix); ok {
		switch {
		case path == "":
			return Address{}, fmt.Errorf("%q has no path: give such as unix:/run/waylume/api.sock", text)
		case len(path) > maxSocketPath:
			return Address{}, fmt.Errorf("%q is longer than the %d bytes that a socket's path may have: use a shorter one", text,
				maxSocketPath)
		}
		return Address{"unix", path}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, fmt.Errorf("%q is no address to listen at: give such as 127.0.0.1:8443, [::1]:8443 or "+
			"unix:/run/waylume/api.sock", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Address{}, fmt.Errorf("%q has no TCP port: give 1 to 65535 after the colon", text)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return Address{}, fmt.Errorf("%q has a name for its host: give an IP address, localhost, or nothing for all of the host's",
			text)
	}
	return Address{"tcp", net.JoinHostPort(host, port)}, nil
}
