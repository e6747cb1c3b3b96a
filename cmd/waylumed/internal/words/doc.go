// Package words reads what a person writes about a node, on a command line or in a file: rates, amounts, durations, prefixes. It
// has the node and the kernel dataplane check what those come to. Its errors say what to write instead, and not where: a caller
// puts the name of a flag or of a setting before them.
//
//	d, err := words.Duration("90d")
//
// It touches nothing and needs no privilege.
package words
