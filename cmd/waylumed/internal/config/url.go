package config

import (
	"fmt"
	"net"
	"net/url"
)

// source is the URL of what is trusted: https, or http from this host.
func source() codec[string] {
	c := link()
	parse := c.parse
	c.parse = func(text string) (string, error) {
		if _, err := parse(text); err != nil {
			return "", err
		}
		if plainHTTP(text) {
			return "", fmt.Errorf("%q is http beyond this host, which anybody on the way can change: give https", clip(text))
		}
		return text, nil
	}
	return c
}

// plainHTTP says that others on the way could read and change what goes over a URL.
func plainHTTP(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" {
		return false
	}
	return !(Address{"tcp", net.JoinHostPort(u.Hostname(), "80")}).Loopback()
}

// link is a URL.
func link() codec[string] {
	return codec[string]{
		unit: "URL",
		parse: func(text string) (string, error) {
			u, err := url.Parse(text)
			switch {
			case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
				return "", fmt.Errorf("is not a URL: give such as https://example.com/path") // which may have a password in it
			case u.User != nil:
				return "", fmt.Errorf("has a user or a password in it, which would be shown and logged: leave them out")
			}
			return text, nil
		},
		format: asIs,
	}
}
