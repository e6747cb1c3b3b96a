package words

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// None stands for nothing: no cap, no resolver, no log.
const None = "none"

const day = 24 * time.Hour

// InWords is a duration as a person writes it: in days, hours or minutes where these are whole.
func InWords(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= unit.length && d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.name
		}
	}
	return d.String()
}

// Duration reads a duration as Go has them, or a number of days: "90d".
func Duration(text string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			return time.Duration(n) * day, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: give one as 15m, 24h or 90d", text)
	}
	return d, nil
}

// Rate reads a speed that a limit can have, as [shaping.ParseRate] does.
func Rate(text string) (shaping.Rate, error) {
	rate, err := shaping.ParseRate(text)
	if err == nil {
		err = rate.Validate()
	}
	return rate, plain(err, "shaping: ")
}

// Amount reads an amount of data as [quota.ParseBytes] does; None is 0.
func Amount(text string) (quota.Bytes, error) {
	if text == None {
		return 0, nil
	}
	amount, err := quota.ParseBytes(text)
	return amount, plain(err, "quota: ")
}

// plain is an error without the name of the package that it is from, which a person does not know.
func plain(err error, prefix string) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), prefix))
}

// Port reads a TCP port to close or to serve.
func Port(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a TCP port: give 1 to 65535", text)
	}
	return uint16(port), nil
}

// Prefix reads a prefix; an address is one of a single host. A prefix with bits behind its length may be meant as either, which
// nobody should guess where it opens something.
func Prefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		if addr.Is4In6() {
			return netip.Prefix{}, fmt.Errorf("%q is IPv4 in IPv6: give %s", text, addr.Unmap())
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix: give such as 198.51.100.7 or 198.51.100.0/24", text)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%s is either %s or %s: give the one that is meant", text, prefix.Addr(), prefix.Masked())
	}
	return prefix, nil
}
