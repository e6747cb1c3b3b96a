// Package redact keeps what identifies customers out of logs: addresses, WireGuard keys, the IDs of accounts, and names. A
// [Redactor] wraps any slog.Handler, so that JSON, text and levels stay what they are; its mode can be changed while the program
// runs.
//
//	r := redact.New(redact.Strict, redact.Options{})
//	logger := slog.New(r.Handler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: &level})))
//
// It starts nothing, keeps nothing of what it sees, and needs no privilege.
//
// # Modes
//
//	            off     partial                       strict
//	addresses   as is   192.0.2.0/24, 2001:db8::/48   [address]
//	keys        as is   their first 6 characters, "…" [key]
//	accounts    as is   [account#1f3a9c]              [account]
//	names       as is   [name#77ab01]                 [name]
//	other text  as is   as is, but for the above      [text], unless its key is known to be harmless
//
// Ports and lengths of prefixes go with their address; 0.0.0.0 and :: stay. The numbers of partial come from a key that each
// Redactor draws anew: within a process, lines about one account have one number; nothing leads back, and two processes have
// different ones. In strict nothing tells one account, key or address from another: who must follow one uses partial, or the
// audit log.
//
// # How
//
// A value counts as an account's ID or a name by the key of its attribute or the field of a struct: "account", "former_account",
// "name", "user". Messages, strings, errors, and whatever has a String or MarshalText method are searched as text, also inside of
// slices, maps, structs and groups, and behind a slog.LogValuer:
//
//   - for keys in base64 (padded or not, the URL alphabet, escaped with %) and in hexadecimal, and for wireguard-go's "abcd…wxyz";
//   - for IPv4 and IPv6 addresses, with ports, zones and prefix lengths;
//   - in partial for `account "…"`, also with "=" or ":" between, which is how errors and events name one;
//   - in strict for anything in double or back quotes, which is how errors name whatever came from outside.
//
// In strict, text under a key that is not known to be harmless is replaced whole: what is not foreseen does not come out.
// Bytes are replaced by their number, functions and channels by their type.
//
// # What it cannot see
//
// In partial: an account's ID or a name that stands unquoted in a message or an error, or in quotes after another word. In both:
// what is spelled otherwise, such as an address as a decimal number, a key as a list of bytes or inside of other encoded text,
// a host name that has an address or a customer in it; and what goes to the log past this handler.
package redact
