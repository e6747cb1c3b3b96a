package allowlist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
)

const (
	// MaxBytes is how long a list may be, in bytes.
	MaxBytes = 4 << 20
	// MaxPrefixes is how many entries a list may have.
	MaxPrefixes = 65536
)

// ErrEmpty says that a list has no entry: more likely a mistake than a wish to shut everybody out.
var ErrEmpty = errors.New("the list is empty: give at least one prefix, 127.0.0.1 for nobody else")

// Parse reads a list. The prefixes are masked, sorted, and each is there once. An error names the first entry that is wrong.
func Parse(text []byte) ([]netip.Prefix, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("the list has more than %d bytes", MaxBytes)
	}
	var prefixes []netip.Prefix
	add := func(where, entry string) error {
		if len(prefixes) == MaxPrefixes {
			return fmt.Errorf("%s: the list has more than %d entries", where, MaxPrefixes)
		}
		p, err := parsePrefix(entry)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		prefixes = append(prefixes, p)
		return nil
	}
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '[' {
		var entries []string
		if err := json.Unmarshal(trimmed, &entries); err != nil {
			return nil, fmt.Errorf("the list is no JSON array of strings: %w", err)
		}
		for i, entry := range entries {
			if err := add(fmt.Sprintf("entry %d", i), entry); err != nil {
				return nil, err
			}
		}
	} else {
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			entry, _, _ := strings.Cut(line, "#")
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}
			if err := add(fmt.Sprintf("line %d", n), entry); err != nil {
				return nil, err
			}
		}
	}
	if len(prefixes) == 0 {
		return nil, ErrEmpty
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes), nil
}

func parsePrefix(entry string) (netip.Prefix, error) {
	const longest = 80 // of what is no prefix, so that an error stays readable
	return words.Prefix(entry[:min(len(entry), longest)])
}
