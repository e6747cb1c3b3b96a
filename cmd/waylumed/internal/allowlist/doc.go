// Package allowlist keeps a list of address prefixes that somebody else looks after, in a file or at a URL, up to date.
//
// A list is text: a prefix or an address on each line, with comments from "#" to the end of the line; or a JSON array of the same as
// strings. A list that cannot be read, or that is empty, changes nothing: the last good one stays in force, and is kept in a file so
// that it is there after a restart as well.
package allowlist
