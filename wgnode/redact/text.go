package redact

import (
	"net/netip"
	"strconv"
	"strings"
)

// What each byte can be part of.
const (
	isSymbol  = 1 << iota // of base64, either alphabet
	isHex                 // a digit of an IPv6 address
	isAddress             // such a digit, a colon or a dot
)

// table has the flags of each byte.
type table [256]uint8

func makeTable() (t table) {
	for c := range t {
		switch b := byte(c); {
		case b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F':
			t[c] = isSymbol | isHex | isAddress
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("+/-_", b) >= 0:
			t[c] = isSymbol
		case b == ':' || b == '.':
			t[c] = isAddress
		}
	}
	return t
}

// text takes out of a text what can be found in it.
func (r *Redactor) text(mode Mode, s string) string {
	if mode == Off || s == "" {
		return s
	}
	if strings.IndexByte(s, '%') >= 0 {
		s = unescape(s)
	}
	if mode == Strict {
		s = hideQuoted(s)
	} else {
		s = r.hideAccounts(s)
	}
	return r.hideAddresses(mode, r.hideKeys(mode, s))
}

// unescape undoes the escapes of a URL behind which keys and addresses could hide.
func unescape(s string) string {
	return strings.NewReplacer("%2B", "+", "%2b", "+", "%2F", "/", "%2f", "/", "%3D", "=", "%3d", "=", "%3A", ":", "%3a", ":",
		"%22", `"`).Replace(s)
}

// hideQuoted replaces what stands in double or back quotes, up to the end where no quote ends it.
func hideQuoted(s string) string {
	at := strings.IndexAny(s, "\"`")
	if at < 0 {
		return s
	}
	var b strings.Builder
	for ; at >= 0; at = strings.IndexAny(s, "\"`") {
		quote := s[at]
		b.WriteString(s[:at])
		b.WriteString(`"[text]"`)
		s = s[at+1:]
		s = s[quotedLen(s, quote):]
	}
	b.WriteString(s)
	return b.String()
}

// quotedLen is how long what follows a quote is, with the quote that ends it.
func quotedLen(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i + 1
		case s[i] == '\\' && quote == '"':
			i++
		}
	}
	return len(s)
}

// hideAccounts replaces the IDs in `account "ID"`, `account="ID"` and `Account: "ID"`.
func (r *Redactor) hideAccounts(s string) string {
	from, end := findAccount(s)
	if from < 0 {
		return s
	}
	var b strings.Builder
	for ; from >= 0; from, end = findAccount(s) {
		b.WriteString(s[:from])
		id, err := strconv.Unquote(s[from:end])
		if err != nil {
			id = s[from:end]
		}
		b.WriteString(r.word(Partial, account, id))
		s = s[end:]
	}
	b.WriteString(s)
	return b.String()
}

// findAccount returns where a quoted ID is that follows the word account; -1: nowhere.
func findAccount(s string) (from, end int) {
	const word = "ccount" // either case of what comes before
	for at := strings.Index(s, word); at >= 0; {
		from = at + len(word)
		rest := strings.TrimLeft(s[from:], "s_idID =:")
		if from = len(s) - len(rest); rest != "" && rest[0] == '"' {
			return from, from + 1 + quotedLen(rest[1:], '"')
		}
		next := strings.Index(rest, word)
		if next < 0 {
			break
		}
		at = from + next
	}
	return -1, 0
}

// hideAddresses replaces addresses.
func (r *Redactor) hideAddresses(mode Mode, s string) string {
	var b strings.Builder
	done := 0
	for i := 0; i < len(s); {
		if r.table[s[i]]&isAddress == 0 {
			i++
			continue
		}
		end := r.table.run(s, i, isAddress)
		dots, colons, double := 0, 0, false
		for j := i; j < end; j++ {
			switch s[j] {
			case '.':
				dots++
			case ':':
				colons++
				double = double || j > i && s[j-1] == ':'
			}
		}
		if dots < 3 && !double && colons < 6 {
			i = end
			continue
		}
		for i < end {
			from, to, addr := findAddress(s, i, end, double || colons >= 6)
			if !addr.IsValid() {
				break
			}
			from, to = around(s, from, to, addr)
			b.WriteString(s[done:max(from, done)])
			b.WriteString(hidden(mode, addr))
			done, i = to, to
		}
		i = max(i, end)
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// longestAddress is the length of the longest form of an IPv6 address.
const longestAddress = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

// findAddress returns the first address in a run of its characters.
func findAddress(s string, from, end int, six bool) (start, stop int, addr netip.Addr) {
	for start = from; start < end; start++ {
		if six && startsSix(s, from, start, end) {
			for stop = min(end, start+longestAddress); stop > start+1; stop-- {
				if stop < end && s[stop] != ':' && s[stop] != '.' || !strings.Contains(s[start:stop], ":") {
					continue
				}
				if addr, err := netip.ParseAddr(s[start:stop]); err == nil {
					return start, stop, addr
				}
			}
		}
		if c := s[start]; c >= '0' && c <= '9' && (start == from || s[start-1] < '0' || s[start-1] > '9') {
			if n, addr := quad(s[start:end]); n > 0 {
				return start, start + n, addr
			}
		}
	}
	return 0, 0, netip.Addr{}
}

// startsSix reports whether an IPv6 address may begin at start: with a group, or with what of the first group can be one.
func startsSix(s string, from, start, end int) bool {
	if start == from || s[start-1] == ':' || s[start-1] == '.' {
		return true
	}
	colon := strings.IndexByte(s[start:end], ':')
	return colon > 0 && colon <= 4
}

// quad returns the length of the dotted quad that s begins with, and its address; 0: none.
func quad(s string) (n int, addr netip.Addr) {
	var octets [4]byte
	for i := range octets {
		value, digits := 0, 0
		for ; n < len(s) && s[n] >= '0' && s[n] <= '9' && digits < 4; n++ {
			value = value*10 + int(s[n]-'0')
			digits++
		}
		if digits == 0 || digits > 3 || value > 255 {
			return 0, addr
		}
		octets[i] = byte(value)
		if i < 3 {
			if n == len(s) || s[n] != '.' {
				return 0, addr
			}
			n++
		}
	}
	return n, netip.AddrFrom4(octets)
}

// around widens the place of an address by its zone, its brackets, its port and its prefix length.
func around(s string, from, to int, addr netip.Addr) (int, int) {
	if to < len(s) && s[to] == '%' && addr.Is6() {
		to += 1 + length(s[to+1:], func(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' })
	}
	if from > 0 && s[from-1] == '[' && to < len(s) && s[to] == ']' {
		from, to = from-1, to+1
	}
	for _, mark := range []byte{':', '/'} {
		if to+1 < len(s) && s[to] == mark && isDigit(s[to+1]) {
			to += 1 + length(s[to+1:], isDigit)
		}
	}
	return from, to
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// length is how many of the first bytes are of a kind.
func length(s string, is func(byte) bool) int {
	for i := range len(s) {
		if !is(s[i]) {
			return i
		}
	}
	return len(s)
}

// run returns where a row of bytes that have a flag ends.
func (t *table) run(s string, from int, flag uint8) int {
	for i := from; i < len(s); i++ {
		if t[s[i]]&flag == 0 {
			return i
		}
	}
	return len(s)
}
