// Package sysctl sets kernel parameters under /proc/sys and puts back what was there. Those under net belong to the network
// namespace of the thread that opens the file: call from where the dataplane runs.
//
//	tree := sysctl.New("")
//	settings, err := tree.Forwarding(true, true, "waylume0")
//	saved, err := tree.Set(settings)
//	defer tree.Restore(saved)
//
// Setting needs root, or CAP_NET_ADMIN for parameters under net, and a /proc/sys that is not mounted read-only; what has its
// value already needs neither. A process that is killed restores nothing: its successor finds the values right and leaves
// them.
package sysctl
