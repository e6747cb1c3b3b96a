package redact

import "strings"

const (
	// keySymbols is the length of a key in base64, without the "=" at its end.
	keySymbols = 43
	// keyDigits is its length in hexadecimal, as in wireguard-go's configuration protocol.
	keyDigits = 64
	// abbreviated is how many characters wireguard-go's log has of a key on each side of "…".
	abbreviated = 4
	// shown is how many are left in partial.
	shown = 6

	ellipsis = "…"
)

// hideKeys replaces keys.
func (r *Redactor) hideKeys(mode Mode, s string) string {
	if len(s) < keySymbols && !strings.Contains(s, ellipsis) {
		return s
	}
	var b strings.Builder
	done := 0
	hide := func(from, to, keep int) {
		b.WriteString(s[done:from])
		if mode == Strict {
			b.WriteString("[key]")
		} else {
			b.WriteString(s[from:from+keep] + ellipsis)
		}
		done = to
	}
	for i := 0; i < len(s); {
		if r.table[s[i]]&isSymbol == 0 {
			i++
			continue
		}
		end := r.table.run(s, i, isSymbol)
		switch n := end - i; {
		case n >= abbreviated && strings.HasPrefix(s[end:], ellipsis):
			if to, ok := r.abbreviation(s, end+len(ellipsis)); ok {
				hide(end-abbreviated, to, abbreviated)
				end = to
			}
		case n < keySymbols:
		case end < len(s) && s[end] == '=':
			from := end - keySymbols
			if mode == Strict && n >= 2*keySymbols {
				from = i
			}
			end++
			hide(from, end, shown)
		case mode == Strict || n == keySymbols || n == keyDigits:
			hide(i, end, shown)
		default:
			for _, piece := range pieces(s[i:end]) {
				if to := i + len(piece); len(piece) == keySymbols || len(piece) == keyDigits {
					hide(i, to, shown)
				}
				i += len(piece) + 1
			}
		}
		i = end
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// pieces are what stands between slashes.
func pieces(s string) []string { return strings.Split(s, "/") }

// abbreviation returns where the second half of a key that wireguard-go has cut short ends.
func (r *Redactor) abbreviation(s string, from int) (to int, ok bool) {
	to = from + abbreviated
	if to > len(s) {
		return 0, false
	}
	for _, c := range []byte(s[from:to]) {
		if r.table[c]&isSymbol == 0 {
			return 0, false
		}
	}
	return to, true
}
