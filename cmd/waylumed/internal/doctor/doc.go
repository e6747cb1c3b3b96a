// Package doctor tells what a host can do for a node: which features a dataplane would find, which other firewalls there are,
// which dataplane `waylumed up` takes, and what to change for a better one.
//
// Examine asks, and changes nothing of the host but that the kernel may load modules: see kernel.Features. It returns a Report,
// which marshals as JSON with names that stay, and which Report.Write shows to a person. Which dataplane it is kernel.Supported
// decides, as it does for `waylumed up`; nothing here has an opinion of its own. No privilege is needed; with root's, more is
// known.
package doctor
