// Package status is what 'waylumed status' tells of a node that runs: what is wrong with it, and how its peers are connected. The
// node makes the report, which goes through the control socket as JSON, and the command shows it. It needs the right to open
// that socket: the node's own user or root.
package status
