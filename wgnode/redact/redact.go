package redact

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
)

// Mode says how much is taken out.
type Mode int32

// The modes. The zero value is the one that lets least out.
const (
	Strict Mode = iota
	Partial
	Off
)

const modes = 3

// ErrMode says that there is no such mode.
var ErrMode = errors.New("no mode of redaction")

// ParseMode reads "off", "partial" or "strict". Other words match ErrMode.
func ParseMode(text string) (Mode, error) {
	for m := range Mode(modes) {
		if m.String() == text {
			return m, nil
		}
	}
	return Strict, fmt.Errorf("%w: %q: give off, partial or strict", ErrMode, text)
}

// String is the word that ParseMode reads.
func (m Mode) String() string {
	switch m {
	case Off:
		return "off"
	case Partial:
		return "partial"
	}
	return "strict"
}

// MarshalText is String.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMode.
func (m *Mode) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMode(string(text))
	return err
}

// Options are what a program adds. The zero value adds nothing.
type Options struct {
	// Harmless are keys of attributes whose text stays in strict, but for what is found in it; beside those that are known.
	Harmless []string
	// Verbatim are keys of attributes whose values stay as they are in every mode: a digest that looks like a key. "audit_head"
	// is one.
	Verbatim []string
}

// Redactor takes out what its mode says. Its methods may be called from any goroutine.
type Redactor struct {
	mode     atomic.Int32
	harmless map[string]bool
	verbatim map[string]bool
	salt     []byte
	table    table
}

// New returns a redactor.
func New(mode Mode, opts Options) *Redactor {
	r := &Redactor{
		harmless: make(map[string]bool), verbatim: map[string]bool{"audithead": true}, salt: make([]byte, sha256.Size), table: makeTable(),
	}
	_, _ = rand.Read(r.salt) // it never fails
	r.SetMode(mode)
	for key := range strings.FieldsSeq(harmlessKeys) {
		r.harmless[key] = true
	}
	for _, key := range opts.Harmless {
		r.harmless[fold(key)] = true
	}
	for _, key := range opts.Verbatim {
		r.verbatim[fold(key)] = true
	}
	return r
}

// harmlessKeys are the keys, folded, whose text the packages of this module make themselves; it is searched all the same.
const harmlessKeys = `error err what kind reason detail dataplane driver method route status outcome problem level component version
	subject peer key publickey former listen since after in mode found damage operation`

// SetMode changes the mode for all that is logged from now on. One that does not exist is Strict.
func (r *Redactor) SetMode(mode Mode) {
	if mode < 0 || mode >= modes {
		mode = Strict
	}
	r.mode.Store(int32(mode))
}

// Mode is the mode as it is now.
func (r *Redactor) Mode() Mode { return Mode(r.mode.Load()) }

// Text takes out of a text what can be found in it.
func (r *Redactor) Text(text string) string { return r.text(r.Mode(), text) }

// Account is what stands for an account's ID.
func (r *Redactor) Account(id string) string { return r.word(r.Mode(), account, id) }

// Name is what stands for a name.
func (r *Redactor) Name(name string) string { return r.word(r.Mode(), naming, name) }

// Addr is what stands for an address.
func (r *Redactor) Addr(addr netip.Addr) string {
	if mode := r.Mode(); mode != Off {
		return hidden(mode, addr)
	}
	return addr.String()
}

// word is what stands for a text of a class.
func (r *Redactor) word(mode Mode, c class, text string) string {
	switch {
	case mode == Off || text == "":
		return text
	case mode == Strict:
		return "[" + c.String() + "]"
	}
	mac := hmac.New(sha256.New, r.salt)
	mac.Write([]byte(c.String()))
	mac.Write([]byte(text))
	return "[" + c.String() + "#" + hex.EncodeToString(mac.Sum(nil)[:3]) + "]"
}

// hidden is what is left of an address.
func hidden(mode Mode, addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.IsUnspecified() {
		return addr.String()
	}
	if mode == Strict || !addr.IsValid() {
		return "[address]"
	}
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(addr, bits).Masked().String()
}

// class is what a text under some key is.
type class int

const (
	other   class = iota
	safe          // harmless, but searched
	account       // an account's ID
	naming        // a name
)

func (c class) String() string {
	switch c {
	case account:
		return "account"
	case naming:
		return "name"
	}
	return "text"
}

// fold leaves of a key what accountID, account_id and AccountID have in common.
func fold(key string) string {
	plain := true
	for i := range len(key) {
		plain = plain && key[i] != '_' && key[i] != '-' && key[i] != '.' && (key[i] < 'A' || key[i] > 'Z')
	}
	if plain {
		return key
	}
	return strings.Map(func(c rune) rune {
		switch c {
		case '_', '-', '.':
			return -1
		}
		return c
	}, strings.ToLower(key))
}

// classOf says what is under a key, within a group of a class.
func (r *Redactor) classOf(key string, within class) class {
	switch key = fold(key); {
	case strings.Contains(key, "account") || strings.Contains(key, "customer"):
		return account
	case strings.HasSuffix(key, "name") || strings.HasSuffix(key, "label") || strings.HasSuffix(key, "labels"),
		strings.Contains(key, "user"), strings.Contains(key, "email"), key == "principal":
		return naming
	case within == account || within == naming:
		return within
	case r.harmless[key]:
		return safe
	}
	return other
}
