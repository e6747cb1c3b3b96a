// Package up runs a node for a person at a terminal: it makes keys and state at the first run, a first peer with its
// configuration as text and as a QR code, says where everything is, and then what happens, until its context ends.
//
// The node's state is one file in a directory of its own. A peer's private key is shown once and is in no file.
//
// It needs no privilege, chooses the kernel's dataplane where it has one, and reads no environment: what a command finds there is in Settings.
package up
